/**
 * What asks for all that is committed waits for no reader of a database that is lent: a transaction of the other node may wait
 * for that in its lane. On e8b0209 an import, a scheduled snapshot and requests to the proxy waited with it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rest } from '../../../src/engine/tasks/rest.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { SqlDriver } from '../../harness/sql-driver.ts';
import { buildSqlites } from '../../harness/sqlite-builds.ts';
import { withFolder } from '../os/folder.ts';

test('a flush does not wait for the lane of a database that is lent', () =>
  withFolder(async (folder) => {
    const node = new EngineStand(folder);
    await node.start();
    for (const name of ['lent.db', 'other.db']) await node.commit(name, 'CREATE TABLE t(x)');
    await node.call('haltLend', { database: 'lent.db', waitMs: 0 });
    const { scheduler, ctx } = node.engine;
    let reads = true;
    const waiting = function* () {
      while (reads) yield* rest(ctx, 1);
    };
    scheduler.add('lent.db', waiting, (error) => assert.equal(error, undefined));
    await node.commit('other.db', 'INSERT INTO t VALUES(1)');
    assert.equal(node.database('other.db').position.txid, 2);
    await node.call('flush', { database: 'lent.db' });
    reads = false;
    await node.call('haltReturn', { database: 'lent.db' });
    await node.stop();
  }));

test('a flush says of which databases it cannot be told what is committed', () =>
  withFolder(async (folder) => {
    const { programs } = await buildSqlites(['newest']);
    const node = new EngineStand(folder);
    await node.start();
    for (const name of ['held.db', 'other.db']) await node.commit(name, 'CREATE TABLE t(x)');
    assert.deepEqual(await node.call('flush', {}), []);
    const app = new SqlDriver(programs.get('newest') as string);
    try {
      await app.open(node.file('held.db'));
      await app.mustRun([
        'PRAGMA locking_mode=EXCLUSIVE',
        'PRAGMA journal_mode=MEMORY',
        'INSERT INTO t VALUES(1)',
      ]);
      const [left, ...others] = await node.call('flush', {});
      assert.deepEqual(others, []);
      assert.equal(left.database, 'held.db');
      assert.match(left.reason, /lock that keeps readers out/);
      assert.deepEqual(await node.call('flush', { database: 'other.db' }), []);
    } finally {
      await app.end();
    }
    assert.deepEqual(await node.call('flush', {}), []);
    assert.equal(node.database('held.db').position.txid, 2);
    await node.stop();
  }));
