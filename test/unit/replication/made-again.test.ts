/** A database that is dropped on the primary, and made again, while a replica is connected. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { MemoryStore } from './memory-store.ts';
import { type Connection, connect, PRIMARY, REPLICA, settle } from './stand.ts';

const clock = { wallMs: () => 0, monotonicMs: () => 0 };
let primary: MemoryStore;
let replica: MemoryStore;
let link: Connection;

beforeEach(async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  [primary, replica] = [new MemoryStore(), new MemoryStore()];
  primary.commit('a.db', new Map([[1, 1n]]));
  link = connect({ store: replica, local: REPLICA }, { store: primary, local: PRIMARY }, clock);
  await settle();
});
afterEach(async () => {
  link.cut();
  await settle(4);
  mock.timers.reset();
});

it('comes also when the replica had failed to apply something of the one before it', async () => {
  replica.diskIsFull = () => true;
  primary.commit('a.db', new Map([[1, 2n]]));
  await settle();
  replica.diskIsFull = () => false;
  primary.remove('a.db');
  await settle();
  primary.commit('a.db', new Map([[1, 3n]]));
  await settle();
  assert.deepEqual(replica.positions(), primary.positions());
});

it('comes also when the replica has asked for it meanwhile', async () => {
  replica.drop = () => Promise.resolve();
  primary.remove('a.db');
  await settle();
  assert.equal(replica.databases.size, 1, 'it is still on its way out');
  link.client.compare('a.db', { txid: 1, checksum: 7n });
  mock.timers.tick(0);
  await settle();
  replica.remove('a.db');
  primary.commit('a.db', new Map([[1, 3n]]));
  mock.timers.tick(1000);
  await settle();
  assert.deepEqual(replica.positions(), primary.positions());
});
