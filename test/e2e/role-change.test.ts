/** Nodes whose role is changed in the config: what was committed under the former one is not lost without a word. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { type Cluster, inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';

/** A node of the same cluster, on the data of another that has ended, with a role of its own. */
async function reborn(
  cluster: Cluster,
  from: TestNode,
  name: string,
  role: { readonly candidate: boolean; readonly primaryPort?: number },
): Promise<TestNode> {
  const node = await cluster.add(name, { ...role, passthrough: 'auto' });
  fs.cpSync(from.data, node.data, { recursive: true, preserveTimestamps: true });
  await node.start();
  return node;
}

test('what a killed primary had committed last is kept when it comes back as a replica', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    sqlite3(primary.file('app.db'), 'PRAGMA journal_mode = wal; CREATE TABLE t(x)');
    await inSync(primary, replica, 'app.db');
    await primary.kill();
    // As an application does between the death of the daemon and its own.
    sqlite3(primary.backing('app.db'), "INSERT INTO t VALUES('the last')");
    await replica.stop();

    const promoted = await reborn(cluster, replica, 'promoted', { candidate: true });
    sqlite3(promoted.file('app.db'), "INSERT INTO t VALUES('of the new primary')");
    const demoted = await reborn(cluster, primary, 'demoted', {
      candidate: false,
      primaryPort: promoted.replicationPort,
    });
    await inSync(promoted, demoted, 'app.db');
    assert.equal(sqlite3(demoted.file('app.db'), 'SELECT x FROM t'), 'of the new primary');
    const kept = path.join(demoted.data, 'divergence', 'app.db');
    await until('it is kept', () => fs.existsSync(kept) && fs.readdirSync(kept).length === 1);
    assert.match(demoted.logText(), /what its primary does not: kept in/);
    const role = () =>
      JSON.parse(fs.readFileSync(path.join(demoted.data, 'node.json'), 'utf8')).role;
    assert.equal(role(), 'replica');
  } finally {
    await cluster.close();
  }
});

test('a replica that was killed in the middle is whole when it comes back as the primary', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    sqlite3(primary.file('app.db'), 'PRAGMA journal_mode = wal; CREATE TABLE t(x)');
    sqlite3(primary.file('app.db'), "INSERT INTO t VALUES('whole')");
    await inSync(primary, replica, 'app.db');
    await replica.kill();
    await primary.stop();
    // A page that was half written when it died.
    const file = replica.backing('app.db');
    const fd = fs.openSync(file, 'r+');
    fs.writeSync(fd, Buffer.alloc(100, 0x55), 0, 100, 4096 + 3000);
    fs.closeSync(fd);
    fs.rmSync(`${file}-wal`, { force: true });
    fs.rmSync(`${file}-shm`, { force: true });

    const promoted = await reborn(cluster, replica, 'promoted', { candidate: true });
    assert.equal(sqlite3(promoted.file('app.db'), 'SELECT x FROM t'), 'whole');
    assert.equal(sqlite3(promoted.file('app.db'), 'PRAGMA integrity_check'), 'ok');
    sqlite3(promoted.file('app.db'), "INSERT INTO t VALUES('and goes on')");
  } finally {
    await cluster.close();
  }
});
