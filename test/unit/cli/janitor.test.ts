/** What commands make for themselves is gone after them, and after a crash of the machine a day later. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { sweepTemporaries, temporaryIn } from '../../../src/snapshots/temporaries.ts';
import { until } from '../../harness/cluster.ts';

const JANITOR = path.resolve(import.meta.dirname, '../../../src/cli/janitor.ts');

describe('what a command makes for itself', () => {
  let folder: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  });
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  for (const signal of ['SIGINT', 'SIGKILL', undefined] as const) {
    it(`is removed ${signal ? `at ${signal}, though it is busy` : 'when it ends'}`, async () => {
      const file = path.join(folder, "a file; it's -rf");
      const other = path.join(folder, 'other');
      fs.writeFileSync(other, '');
      const busy = signal ? 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)' : '';
      const script = `
        import fs from 'node:fs';
        import { removeDatabaseAtEnd } from ${JSON.stringify(JANITOR)};
        removeDatabaseAtEnd(process.argv[1]);
        fs.writeFileSync(process.argv[1] + '-wal', '');
        fs.writeFileSync(process.argv[1], '');
        fs.writeSync(1, 'busy');
        ${busy}`;
      const args = ['--input-type=module-typescript', '-e', script, file];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      try {
        await once(child.stdout, 'data');
        if (signal) child.kill(signal);
        await until('all is gone', () => fs.readdirSync(folder).length === 1);
        assert(fs.existsSync(other));
      } finally {
        child.kill('SIGKILL');
      }
    });
  }

  it('is removed a day after a crash of the machine, by its name alone', () => {
    const [old, young] = [temporaryIn(folder), temporaryIn(folder)];
    const foreign = path.join(folder, '.litefs-lite-id');
    const longAgo = new Date(Date.now() - 25 * 3_600_000);
    for (const file of [old, `${old}-wal`, young, foreign]) fs.writeFileSync(file, '');
    for (const file of [old, `${old}-wal`, foreign]) fs.utimesSync(file, longAgo, longAgo);
    sweepTemporaries(folder);
    const left = fs.readdirSync(folder).map((name) => path.join(folder, name));
    assert.deepEqual(left.sort(), [foreign, young].sort());
    sweepTemporaries(path.join(folder, 'nowhere'));
  });
});
