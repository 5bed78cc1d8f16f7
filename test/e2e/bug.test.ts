/** What becomes of a node when there is a bug in it that nobody caught. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { mountAt } from '../../src/os/mounts.ts';
import { sqlite3 } from '../harness/app.ts';
import { LAUNCHER } from '../harness/cli.ts';
import { Cluster } from '../harness/cluster.ts';

/** Far less than what it may take at most. */
const END_MS_MAX = 15_000;

test('a bug in the main thread ends all of the process, and the mount with it', async () => {
  const cluster = new Cluster();
  try {
    const bug = path.join(cluster.dir, 'bug.cjs');
    fs.writeFileSync(
      bug,
      `if (require('node:worker_threads').isMainThread)
         process.on('SIGUSR2', () => void Promise.reject(new Error('a bug of the test')));`,
    );
    const node = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      // The executable heeds no NODE_OPTIONS.
      executable: LAUNCHER,
      environment: { NODE_OPTIONS: `--require ${bug}` },
    });
    await node.start();
    sqlite3(node.file('app.db'), 'CREATE TABLE t(x)');
    const over = new AbortController();
    process.kill(node.pid, 'SIGUSR2');
    await node.logged(/^internal error, please report it: Error: a bug of the test$/);
    await node.logged(/^ +at .*bug\.cjs/);
    const late = new Promise((resolve) => {
      const timer = setTimeout(resolve, END_MS_MAX, 'late');
      over.signal.addEventListener('abort', () => clearTimeout(timer));
    });
    assert.equal(await Promise.race([node.exited, late]), 70, node.logText());
    over.abort();
    assert.equal(mountAt(node.mount), undefined);
    // It had been taken down in order: nothing is recovered.
    await node.start();
    assert.equal(sqlite3(node.file('app.db'), 'SELECT count(*) FROM t'), '0');
    assert.equal(await node.stop(), 0);
  } finally {
    await cluster.close();
  }
});
