/** The end of a process whose threads node cannot end. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import path from 'node:path';
import { it } from 'node:test';
import { withFolder } from './folder.ts';

it('comes at once, with its status, though a thread waits in the kernel', () =>
  withFolder((folder) => {
    const pipe = path.join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const exit = path.resolve(import.meta.dirname, '../../../src/os/exit.ts');
    // The open of a pipe that nobody writes.
    const program = `
      import { Worker } from 'node:worker_threads';
      import { exitNow } from ${JSON.stringify(exit)};
      const waits = "require('node:worker_threads').parentPort.postMessage(''); require('node:fs').openSync(process.env.PIPE)";
      new Worker(waits, { eval: true, execArgv: [] }).on('message', () => exitNow(70));`;
    const args = ['--input-type=module-typescript', '--eval', program];
    const { status, stderr } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      env: { ...process.env, PIPE: pipe },
      timeout: 20_000,
      killSignal: 'SIGKILL',
    });
    assert.equal(status, 70, stderr);
  }));
