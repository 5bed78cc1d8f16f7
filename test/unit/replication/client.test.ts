/** Connecting, and connecting again, over sockets of this machine. */
import assert from 'node:assert/strict';
import net from 'node:net';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { MemoryStore } from './memory-store.ts';
import { settle, until } from './stand.ts';
import { type Following, follow } from './tcp-stand.ts';

let connect: { readonly mock: { callCount(): number } };
let primary: MemoryStore;
let link: Following | undefined;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  connect = mock.method(net, 'connect');
  primary = new MemoryStore();
  primary.commit('a.db', new Map([[1, 1n]]));
});
afterEach(async () => {
  await link?.close();
  mock.timers.reset();
  mock.restoreAll();
});

/** Lets time pass in the client, and tells how often it has dialled by then. */
async function dialled(ms: number): Promise<number> {
  mock.timers.tick(ms);
  await settle(4);
  return connect.mock.callCount();
}

describe('a replica that was welcomed, and has lost the connection', () => {
  it('waits longer and longer when it was lost at once', async () => {
    primary.readLog = () => Promise.reject(new LiteFsError('DISK', 'the log cannot be read'));
    link = await follow(new MemoryStore(), primary);
    await link.lost();
    assert.equal(await dialled(499), 1);
    assert.equal(await dialled(501), 2);
    await link.lost();
    assert.equal(await dialled(999), 2);
    assert.equal(await dialled(1001), 3);
    await link.lost();
    assert.equal(await dialled(1999), 3);
  });

  it('connects at once when all was well for a while, whatever was before', async () => {
    const replica = new MemoryStore();
    link = await follow(replica, primary);
    await link.synced();
    link.cut();
    await link.lost();
    assert.equal(await dialled(499), 1);
    assert.equal(await dialled(501), 2);
    await link.synced();
    link.pass(3000);
    link.cut();
    await link.lost();
    assert.equal(await dialled(1), 3);
  });

  it('does not wait for as long as for a primary that was away', async () => {
    link = await follow(new MemoryStore(), primary);
    await link.synced();
    link.isAway = true;
    link.cut();
    for (let tries = 2; tries <= 6; tries++) {
      await link.rests();
      if (tries === 6) link.isAway = false;
      assert.equal(await dialled(15_000), tries);
    }
    await link.synced();
    link.cut();
    await link.rests();
    assert.equal(await dialled(2001), 7);
  });
});

describe('a replica that was a primary, and has what nobody else has', () => {
  it('is not in sync before that is replaced, however far it goes', async () => {
    const replica = new MemoryStore();
    for (let i = 0; i < 5; i++) replica.commit('a.db', new Map([[1, BigInt(10 + i)]]));
    const cut = Promise.withResolvers<void>();
    const cutPages = primary.cutPages.bind(primary);
    primary.cutPages = async (...args) => {
      await cut.promise;
      return cutPages(...args);
    };
    link = await follow(replica, primary);
    const { client } = link;
    await until(() => client.state().positions.size > 0);
    assert.equal(client.state().inSync, false);
    assert.equal(client.state().lagMs, undefined);
    cut.resolve();
    await link.synced();
    assert.equal(client.state().inSync, true);
    assert.deepEqual(replica.positions(), primary.positions());
  });
});

describe('a replica that has nothing of a database yet', () => {
  const MIB = 1 << 20;
  for (const [logMib, databaseMib, by] of [
    [9, 18, 'pages'],
    [9, 19, 'entries'],
    [7, 7, 'entries'],
  ] as const) {
    it(`gets ${by} with ${logMib} MiB of log and ${databaseMib} of pages`, async () => {
      const readLog = primary.readLog.bind(primary);
      primary.readLog = async (...args) => {
        const read = await readLog(...args);
        const [logBytes, databaseBytes] = [logMib * MIB, databaseMib * MIB];
        return read.kind === 'entries' ? { ...read, logBytes, databaseBytes } : read;
      };
      const replica = new MemoryStore();
      link = await follow(replica, primary);
      await link.synced();
      assert.deepEqual(replica.positions(), primary.positions());
      assert.equal(replica.databases.get('a.db')?.log.length === 0, by === 'pages');
      // What comes later comes as it is, whatever the log.
      primary.commit('a.db', new Map([[1, 77n]]));
      const entries = () => replica.databases.get('a.db')?.log.length;
      await until(() => entries() === (by === 'pages' ? 1 : 2));
      assert.deepEqual(replica.positions(), primary.positions());
    });
  }
});

it('nothing is missed that the primary dropped before it had come', async () => {
  const hangs = new Promise<never>(() => {});
  primary.commit('b.db', new Map([[1, 1n]]));
  const readLog = primary.readLog.bind(primary);
  primary.readLog = (name, after) => (name === 'b.db' ? hangs : readLog(name, after));
  link = await follow(new MemoryStore(), primary);
  const { client } = link;
  await until(() => client.state().positions.size === 2);
  link.cut();
  await link.lost();
  primary.remove('b.db');
  await dialled(1000);
  await link.synced();
  assert.deepEqual([...client.state().positions.keys()], ['a.db']);
  link.pass(10_000);
  mock.timers.tick(1000);
  await until(() => client.state().lagMs === 0);
});

it('a database that cannot be applied does not keep the replica from connecting again', async () => {
  const replica = new MemoryStore();
  const gate = Promise.withResolvers<void>();
  const apply = replica.apply.bind(replica);
  let stuck = 0;
  replica.apply = async (entry) => {
    if (entry.database === 'a.db') {
      stuck++;
      await gate.promise;
    }
    return apply(entry);
  };
  link = await follow(replica, primary);
  await until(() => stuck === 1);
  link.cut();
  await link.lost();
  primary.commit('a.db', new Map([[1, 2n]]));
  primary.commit('b.db', new Map([[1, 1n]]));
  assert.equal(await dialled(1000), 1, 'it waits a little');
  assert.equal(await dialled(2000), 2);
  await until(() => replica.databases.has('b.db'));
  assert.equal(stuck, 1, 'nothing more is taken in of what is stuck');
  gate.resolve();
  await link.synced();
  assert.deepEqual(replica.positions(), primary.positions());
});
