/** The licenses of all that is inside the executable: Node's, and those of the npm packages that are no development ones. */
import fs from 'node:fs';
import path from 'node:path';

interface LockedPackage {
  readonly version: string;
  readonly license?: string;
  readonly dev?: boolean;
}

/** One text, from package-lock.json and node_modules below `root`. */
export function licenses(root: string): string {
  const lock: { packages: Record<string, LockedPackage> } = JSON.parse(
    fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8'),
  );
  return Object.entries(lock.packages)
    .filter(([folder, { dev }]) => folder !== '' && !dev && fs.existsSync(path.join(root, folder)))
    .map(([folder, { version, license }]) => {
      const title = `${folder.slice(folder.lastIndexOf('node_modules/') + 13)} ${version} (${license ?? 'see below'})`;
      return `${title}\n${'='.repeat(title.length)}\n\n${licenseText(path.join(root, folder))}\n`;
    })
    .join('\n');
}

function licenseText(folder: string): string {
  const file = fs.readdirSync(folder).find((name) => /^(licen[cs]e|copying)/i.test(name));
  if (file === undefined) return 'The package has no license file; package.json names it.\n';
  return fs.readFileSync(path.join(folder, file), 'utf8').trimEnd();
}
