/**
 * `npm run test:boxes`: the package as its users have it, on machines of a small LAN with a systemd each (boxes/lab.ts). The
 * package is what dist/ has, the newest; npm makes it first. The boxes' files are made once, below dist/boxes. Needs root, Linux with
 * /dev/fuse, and the programs debootstrap, iproute2, util-linux and dpkg-dev. Arguments narrow it, as those of npm test.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { packageFile } from './boxes/package.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const TEST_MS_MAX = 600_000;

const wanted = process.argv.slice(2);
const dir = path.join(ROOT, 'test/boxes');
const files = fs
  .readdirSync(dir)
  .filter((file) => file.endsWith('.box.ts') && wanted.every((word) => file.includes(word)));
if (files.length === 0) {
  console.error(`no test of the boxes matches ${wanted.join(' ')}`);
  process.exit(1);
}
packageFile();
const flags = ['--test', '--test-concurrency=1', '--test-reporter=spec'];
const result = spawnSync(
  process.execPath,
  [...flags, `--test-timeout=${TEST_MS_MAX}`, ...files.map((file) => path.join(dir, file))],
  { cwd: ROOT, stdio: 'inherit' },
);
process.exit(result.status ?? 1);
