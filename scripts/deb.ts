/** `npm run deb [-- --arch arm64]`: dist/litefs-lite_<version>_<arch>.deb, by debian/rules. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

const DEBIAN = { x64: 'amd64', arm64: 'arm64' } as const;

const root = path.dirname(import.meta.dirname);
const { values } = parseArgs({
  options: { arch: { type: 'string', default: process.arch } },
});
if (values.arch !== 'x64' && values.arch !== 'arm64') {
  throw new Error(`--arch is x64 or arm64, not ${values.arch}`);
}
const arch = DEBIAN[values.arch];
fs.mkdirSync(path.join(root, 'dist'), { recursive: true });
const rules = (target: string) =>
  execFileSync(
    'dpkg-architecture',
    ['-f', `-a${arch}`, '-c', 'debian/rules', target, 'DEB_DEST=dist'],
    // The day of the changelog's newest entry, so that two builds give the same bytes.
    {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, SOURCE_DATE_EPOCH: released() },
    },
  );
rules('clean');
rules('binary');
rules('clean');
for (const name of fs
  .readdirSync(path.join(root, 'dist'))
  .filter((each) => each.endsWith(`_${arch}.deb`))) {
  const mib = (fs.statSync(path.join(root, 'dist', name)).size / 2 ** 20).toFixed(1);
  process.stdout.write(`dist/${name}: ${mib} MiB\n`);
}

function released(): string {
  return execFileSync('dpkg-parsechangelog', ['-STimestamp'], {
    cwd: root,
    encoding: 'utf8',
  }).trim();
}
