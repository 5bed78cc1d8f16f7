/** The package that the boxes install. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { Box } from './box.ts';

const DIST = path.resolve(import.meta.dirname, '../../dist');

/** Where the boxes' files are kept between runs. */
export const CACHE = path.join(DIST, 'boxes');

/** The newest one of this machine's kind that `npm run deb` has made. Throws when there is none. */
export function packageFile(): string {
  const arch = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
  const made = fs.existsSync(DIST) ? fs.readdirSync(DIST) : [];
  const files = made
    .filter((name) => name.startsWith('litefs-lite_') && name.endsWith(`_${arch}.deb`))
    .map((name) => path.join(DIST, name))
    .sort((a, b) => fs.statSync(b).mtimeMs - fs.statSync(a).mtimeMs);
  const [newest] = files;
  if (newest === undefined) throw new Error('no package in dist/: npm run deb makes it');
  return newest;
}

/** Puts it where the README's commands look for it in the home of root. */
export function putPackage(box: Box): void {
  const file = packageFile();
  const dist = path.join(box.root, 'root/dist');
  fs.mkdirSync(dist);
  fs.copyFileSync(file, path.join(dist, path.basename(file)));
}
