/**
 * What asks for all that is committed waits for no reader of a database that is lent: a transaction of the other node may wait
 * for that in its lane. On e8b0209 an import, a scheduled snapshot and requests to the proxy waited with it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rest } from '../../../src/engine/tasks/rest.ts';
import { withFolder } from '../os/folder.ts';
import { EngineStand } from './engine-stand.ts';

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
