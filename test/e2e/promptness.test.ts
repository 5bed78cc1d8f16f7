import assert from 'node:assert/strict';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { inSync, type Passthrough, startCluster, until } from '../harness/cluster.ts';

const COMMITS = 20;
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
