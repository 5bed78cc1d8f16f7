/**
 * An administrator (or a script that cleans up) takes the mount out of the tree while applications have files of it open. The
 * engine lets held operations go on by the path of the mount, which leads elsewhere then: before that was noticed, the
 * application waited for ever in its fsync of the -wal, with every thread of the node at rest.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import readline from 'node:readline';
import { test } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { Cluster, type TestNode, WAIT_MS_MAX } from '../harness/cluster.ts';

const WRITER = path.resolve(import.meta.dirname, '../harness/page-writer.ts');
const WAYS: Record<string, (node: TestNode) => void> = {
  'unmounted lazily': ({ mount }) => execFileSync('umount', ['-l', mount]),
  'mounted over': ({ mount }) => execFileSync('mount', ['-t', 'tmpfs', 'none', mount]),
};

for (const [way, take] of Object.entries(WAYS)) {
  test(`a mount that is ${way} under a writer ends the node, which says why`, async () => {
    const cluster = new Cluster();
    const primary = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    try {
      await primary.start();
      const file = primary.file('app.db');
      sqlite3(
        file,
        `PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, data);
        INSERT INTO t SELECT value, randomblob(3000) FROM generate_series(1, 2000)`,
      );
      const writer = spawn(process.execPath, [WRITER, file, 'wal'], {
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      try {
        await once(readline.createInterface({ input: writer.stdout }), 'line');
        const over = AbortSignal.timeout(WAIT_MS_MAX);
        const writerEnds = once(writer, 'exit', { signal: over });
        take(primary);
        const late = once(over, 'abort').then(() => 'not at all');
        assert.equal(await Promise.race([primary.exited, late]), 69);
        assert.match(primary.logText(), /does not lead to the mount of this node any more/);
        await writerEnds;
      } finally {
        writer.kill('SIGKILL');
      }
      if (way === 'mounted over') execFileSync('umount', [primary.mount]);
      await primary.start();
      assert.equal(sqlite3(file, 'PRAGMA integrity_check'), 'ok');
      assert.notEqual(await primary.position('app.db'), '');
    } finally {
      await primary.kill();
      for (let mounted = true; mounted; ) {
        mounted = spawnSync('umount', ['-l', primary.mount], { stdio: 'ignore' }).status === 0;
      }
      await cluster.close();
    }
  });
}
