/** A database that is in quarantine on the primary: a replica keeps its copy, and follows what takes its place. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { MemoryStore } from './memory-store.ts';
import { type Connection, connect, PRIMARY, REPLICA, settle } from './stand.ts';

const clock = { wallMs: () => 0, monotonicMs: () => 0 };
let primary: MemoryStore;
let replica: MemoryStore;
let link: Connection;

const contents = (store: MemoryStore) => [...(store.databases.get('a.db')?.pages ?? [])];

async function follow(): Promise<void> {
  link = connect({ store: replica, local: REPLICA }, { store: primary, local: PRIMARY }, clock);
  await settle();
}

beforeEach(async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  primary = new MemoryStore();
  replica = new MemoryStore();
  for (let i = 1; i <= 3; i++) primary.commit('a.db', new Map([[i, BigInt(i)]]));
  await follow();
  link.cut();
  await settle(4);
});
afterEach(async () => {
  link.cut();
  await settle(4);
  mock.timers.reset();
});

it('is not dropped, and followed again when another takes its name', async () => {
  const had = primary.databases.get('a.db');
  assert(had);
  primary.databases.delete('a.db');
  primary.aside.add('a.db');
  await follow();
  assert.deepEqual(contents(replica), [...had.pages]);
  assert.deepEqual(replica.kept, []);

  // It goes on from the position that was kept.
  primary.databases.set('a.db', had);
  primary.aside.delete('a.db');
  primary.commit('a.db', new Map([[2, 22n]]));
  await settle();
  assert.deepEqual(contents(replica), contents(primary));
  assert.deepEqual(replica.databases.get('a.db')?.position, had.position);
});

it('is kept aside when it had what the primary never had', async () => {
  const had = primary.databases.get('a.db');
  assert(had);
  primary.databases.delete('a.db');
  primary.aside.add('a.db');
  replica.commit('a.db', new Map([[1, 99n]]));
  await follow();
  primary.databases.set('a.db', had);
  primary.aside.delete('a.db');
  primary.commit('a.db', new Map([[2, 22n]]));
  await settle();
  assert.deepEqual(contents(replica), contents(primary));
  assert.deepEqual(replica.kept, ['a.db']);
});

it('is kept aside when it goes without an entry that tells so', async () => {
  const had = primary.databases.get('a.db');
  assert(had);
  primary.databases.delete('a.db');
  primary.aside.add('a.db');
  await follow();
  primary.databases.set('a.db', had);
  primary.aside.delete('a.db');
  primary.forget('a.db');
  await settle();
  assert.deepEqual(contents(replica), []);
  assert.deepEqual(replica.kept, ['a.db']);
});

it('is dropped when it is gone, and not aside', async () => {
  primary.databases.delete('a.db');
  await follow();
  assert.deepEqual(contents(replica), []);
});
