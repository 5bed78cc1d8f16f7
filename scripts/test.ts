/**
 * `npm test`: the end-to-end tests (real mounts, real sqlite3) and the unit tests, three files at a time. The nodes of the
 * whole suite are the executable, as it is shipped, made first; it also starts in a fifth of the time.
 * Arguments narrow it: `npm test -- wal` runs the files whose path contains "wal", with nodes from the sources, or with
 * those of the executable at $LITEFS_LITE_EXECUTABLE.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { makeShipped } from './build/shipped.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
/** More than two processors: a quarter of the time a file waits, for a disk or for what is to happen. */
const FILES_AT_A_TIME = 3;
/** For a test, and for the tests of a describe together: several times what the longest takes. */
const TEST_MS_MAX = 600_000;
/** For the whole suite: one that hangs is to end by itself. */
const SUITE_MS_MAX = 40 * 60_000;
const wanted = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));
const flags = process.argv.slice(2).filter((arg) => arg.startsWith('-'));

const files = fs
  .readdirSync(path.join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts') && !file.includes('node_modules'))
  .map((file) => path.join('test', file))
  .filter((file) => wanted.every((word) => file.includes(word)))
  .sort();

if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(' ')}`);
  process.exit(1);
}
installApplications();
const environment: NodeJS.ProcessEnv = {
  NODE_COMPILE_CACHE: path.join(ROOT, 'node_modules/.cache/compile'),
  ...process.env,
};
if (wanted.length === 0) environment.LITEFS_LITE_EXECUTABLE ??= makeShipped(ROOT);
const options = [
  `--test-concurrency=${FILES_AT_A_TIME}`,
  '--test-reporter=spec',
  `--test-timeout=${TEST_MS_MAX}`,
  `--import=${path.join(ROOT, 'test/harness/leftovers.ts')}`,
];
const result = spawnSync(process.execPath, ['--test', ...options, ...flags, ...files], {
  cwd: ROOT,
  stdio: 'inherit',
  env: environment,
  // It then says what it was at.
  timeout: wanted.length === 0 ? SUITE_MS_MAX : undefined,
  killSignal: 'SIGTERM',
});
process.exit(result.status ?? 1);

/** Web applications from npm that tests run as they come: too large for everybody's `npm ci`. */
function installApplications(): void {
  const apps = path.join(ROOT, 'test/apps');
  for (const app of fs.readdirSync(apps)) {
    const dir = path.join(apps, app);
    const isWanted = files.some((file) => path.basename(file).startsWith(`${app}-`));
    if (!isWanted || fs.existsSync(path.join(dir, 'node_modules/.package-lock.json'))) continue;
    const npm = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
    const installed = spawnSync('npm', npm, { cwd: dir, stdio: 'inherit' });
    if (installed.status !== 0) process.exit(installed.status ?? 1);
  }
}
