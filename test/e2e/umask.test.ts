/** Under an umask that leaves nothing to others, as the systemd unit sets it, what is for users is theirs all the same. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Cluster, inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';
import { scriptAs, sqlite3As, type User } from '../harness/other-user.ts';

const APP: User = { uid: 4301, gid: 4302 };

describe('under an umask of 077', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  const ours = process.umask();

  before(async () => {
    process.umask(0o077);
    ({ cluster, primary, replica } = await startCluster('auto', {
      config: { fuse: { 'allow-other': true } },
    }));
    fs.chmodSync(cluster.dir, 0o711);
    for (const node of [primary, replica]) fs.chmodSync(node.dir, 0o711);
  });
  after(async () => {
    process.umask(ours);
    await cluster?.close();
  });

  test('users make and read databases in a folder of theirs', async () => {
    const folder = primary.file('app');
    fs.mkdirSync(folder);
    fs.chmodSync(folder, 0o755);
    fs.chownSync(folder, APP.uid, APP.gid);
    scriptAs(APP, path.join(folder, 'x'), 'process.umask(0o022); fs.mkdirSync(file)');
    assert.equal(fs.statSync(path.join(folder, 'x')).mode & 0o777, 0o755);
    const made = sqlite3As(
      APP,
      primary.file('app/a.db'),
      'PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(7)',
    );
    assert.equal(made.status, 0, made.stderr);
    await inSync(primary, replica, 'app/a.db');
    await until('it is theirs on the replica', () => {
      const { uid } = fs.statSync(replica.file('app/a.db'));
      return uid === APP.uid;
    });
    for (const node of [primary, replica]) {
      const read = sqlite3As(APP, node.file('app/a.db'), 'SELECT x FROM t');
      assert.deepEqual([read.stdout, read.status], ['7', 0], read.stderr);
    }
  });

  test('only root comes to what is the node’s', () => {
    for (const node of [primary, replica]) {
      assert.equal(fs.statSync(node.mount).mode & 0o777, 0o755);
      assert.equal(fs.statSync(node.data).mode & 0o777, 0o700);
    }
  });
});
