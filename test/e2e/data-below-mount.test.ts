/**
 * data.dir below fuse.dir, as many a config of LiteFS has it. The folder below the mount is immutable then as well, and what is in
 * data.dir is not.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { mountsAt } from '../../src/os/mounts.ts';
import { sqlite3 } from '../harness/app.ts';
import { Cluster, type TestNode } from '../harness/cluster.ts';
import { withDisk } from '../harness/mount-points.ts';

const count = (node: TestNode) => sqlite3(node.file('app.db'), 'SELECT count(*) FROM t').trim();

/** Nobody, root included, makes a file where only the node's own folders are. */
function assertGuarded(node: TestNode, data: string): void {
  assert.deepEqual(mountsAt(node.mount), []);
  for (const folder of [node.mount, path.dirname(data)]) {
    const file = path.join(folder, 'app.db');
    assert.throws(() => fs.writeFileSync(file, ''), { code: 'EPERM' }, folder);
  }
  assert.deepEqual(fs.readdirSync(node.mount), ['of']);
  assert.deepEqual(fs.readdirSync(path.dirname(data)), [path.basename(data)]);
}

test('a node whose data.dir lies deep below its mount point stops, dies and starts, and both are guarded', () =>
  withDisk(async (base) => {
    const cluster = new Cluster(base);
    try {
      const data = path.join(cluster.dir, 'primary/mount/of/node');
      const config = { data: { dir: data } };
      const settings = { candidate: true, passthrough: 'auto', config } as const;
      const node = await cluster.add('primary', settings);
      await node.start();
      const db = new Sqlite(node.file('app.db'));
      db.exec('PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES (1)');
      db.close();
      assert.equal(await node.stop(), 0);
      assertGuarded(node, data);

      await node.start();
      const writer = new Sqlite(node.file('app.db'));
      writer.exec('PRAGMA wal_autocheckpoint = 0; INSERT INTO t VALUES (2)');
      await node.kill();
      writer.close();
      await node.start();
      await node.logged(/was still mounted by a daemon that died: unmounting it/);
      assert.equal(mountsAt(node.mount).length, 1);
      assert.equal(count(node), '2');
      assert.equal(await node.stop(), 0);
      assertGuarded(node, data);
    } finally {
      await cluster.close();
    }
  }));
