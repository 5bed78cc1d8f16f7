import assert from 'node:assert/strict';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { inSync, type Passthrough, startCluster, until } from '../harness/cluster.ts';

const COMMITS = 20;
const BUSY_COMMITS = 4000;
const BUSY_ROWS = 100;
/** Twenty are there within some tens of ms; one that waits for the next second's housekeeping takes longer than all. */
const MS_MAX = 5000;

for (const passthrough of ['auto', 'off'] as Passthrough[]) {
  test(`each commit of a series is passed on at once, passthrough ${passthrough}`, async () => {
    const { cluster, primary, replica } = await startCluster(passthrough);
    try {
      const app = new Sqlite(primary.file('app.db'));
      app.exec('PRAGMA journal_mode = wal; CREATE TABLE t(id INTEGER PRIMARY KEY)');
      await inSync(primary, replica, 'app.db');
      const reader = new Sqlite(replica.file('app.db'), { readonly: true });
      const count = reader.prepare('SELECT count(*) FROM t').pluck();
      const startedMs = performance.now();
      for (let id = 1; id <= COMMITS; id++) {
        app.prepare('INSERT INTO t VALUES(?)').run(id);
        await until(`row ${id} is on the replica`, () => count.get() === id);
      }
      const ms = performance.now() - startedMs;
      assert.ok(ms < MS_MAX, `${COMMITS} commits took ${Math.round(ms)} ms to be seen`);
      reader.close();
      app.close();
    } finally {
      await cluster.close();
    }
  });
}

test('a writer that never pauses has each commit captured as a transaction of its own', async () => {
  const { cluster, primary } = await startCluster('auto', { replicas: 0 });
  try {
    const app = new Sqlite(primary.file('app.db'));
    app.exec('PRAGMA journal_mode = wal; CREATE TABLE t(id INTEGER PRIMARY KEY, data)');
    const before = Number.parseInt(await primary.position('app.db'), 16);
    const insert = app.prepare('INSERT INTO t(data) VALUES(zeroblob(100))');
    const commit = app.transaction(() => {
      for (let row = 0; row < BUSY_ROWS; row++) insert.run();
    });
    for (let count = 0; count < BUSY_COMMITS; count++) commit();
    const after = Number.parseInt(await primary.position('app.db'), 16);
    assert.equal(after - before, BUSY_COMMITS);
    assert.doesNotMatch(primary.logText(), /compared every page/);
    app.close();
  } finally {
    await cluster.close();
  }
});
