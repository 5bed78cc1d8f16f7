import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as after } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { inSync, startCluster, until } from '../harness/cluster.ts';

const COUNT = 1000;
const IDLE_MS = 5000;

test('1,000 databases in one mount: all replicated, and no work when nothing happens', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    const seed = path.join(cluster.dir, 'seed.db');
    const db = new Sqlite(seed);
    db.exec('PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)');
    db.close();
    for (let i = 0; i < COUNT; i++) {
      const dir = primary.file(`dir-${i % 10}`);
      if (i < 10) fs.mkdirSync(dir);
      await fs.promises.copyFile(seed, path.join(dir, `db-${i}.db`));
    }
    await until('all are on the replica', async () => {
      const { databases } = await replica.info();
      return databases.length === COUNT;
    });
    for (const i of [0, 499, 999]) {
      const name = `dir-${i % 10}/db-${i}.db`;
      const app = new Sqlite(primary.file(name));
      app.exec('INSERT INTO t VALUES(2)');
      app.close();
      await inSync(primary, replica, name);
    }
    // What came before has settled: logs are flushed, segments closed.
    await until('both are idle', async () => {
      const before = primary.cpuMs() + replica.cpuMs();
      await after(1000);
      return primary.cpuMs() + replica.cpuMs() - before <= 20;
    });
    const before = [primary.cpuMs(), replica.cpuMs()];
    await after(IDLE_MS);
    for (const [i, node] of [primary, replica].entries()) {
      const share = (node.cpuMs() - before[i]) / IDLE_MS;
      assert.ok(share < 0.01, `${node.name} used ${(share * 100).toFixed(1)} % of a processor`);
    }
  } finally {
    await cluster.close();
  }
});
