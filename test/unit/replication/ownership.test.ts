/** To whom databases belong: a replica is told before anything of a database comes, and when it changes. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { FEATURE_OWNERSHIP } from '../../../src/replication/messages.ts';
import type { DatabaseOwnership, NamedOwnership } from '../../../src/store/ownership.ts';
import { MemoryStore } from './memory-store.ts';
import { type Connection, connect, PRIMARY, REPLICA, settle } from './stand.ts';

const ROOT: NamedOwnership = { uid: 0, gid: 0, mode: 0o755, user: 'root', group: 'root' };
const owned = (uid: number): DatabaseOwnership => ({
  file: { uid, gid: uid, mode: 0o600, user: `user${uid}`, group: '' },
  folders: [ROOT],
});
const clock = { wallMs: () => 0, monotonicMs: () => 0 };
const PAGES = new Map([[1, 1n]]);
let primary: MemoryStore;
let replica: MemoryStore;
let link: Connection | undefined;
/** What the replica's store was asked, in order. */
let asked: string[];

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  [primary, replica] = [new MemoryStore(), new MemoryStore()];
  asked = [];
  for (const name of ['own', 'apply', 'drop'] as const) {
    const real = replica[name].bind(replica) as (...args: unknown[]) => Promise<unknown>;
    Object.assign(replica, {
      [name]: (...args: unknown[]) => {
        asked.push(name);
        return real(...args);
      },
    });
  }
});
afterEach(async () => {
  link?.cut();
  await settle(4);
  mock.timers.reset();
});

async function follow(hidden = 0): Promise<void> {
  const [at, from] = [
    { store: replica, local: REPLICA },
    { store: primary, local: PRIMARY },
  ];
  link = connect(at, from, clock, hidden);
  await settle();
}

it('comes before the first entry, of what was there and of what is new', async () => {
  primary.commit('a.db', PAGES);
  await primary.own('a.db', owned(7));
  await follow();
  assert.deepEqual(replica.ownership('a.db'), owned(7));
  assert.deepEqual(asked, ['own', 'apply']);
  asked.length = 0;
  // The engine tells it of a new one before its first entry.
  await primary.own('b.db', owned(8));
  primary.commit('b.db', PAGES);
  await settle();
  assert.deepEqual(replica.ownership('b.db'), owned(8));
  assert.equal(asked[0], 'own');
  assert.equal(asked.at(-1), 'apply');
});

it('comes again when it changes', async () => {
  primary.commit('a.db', PAGES);
  await primary.own('a.db', owned(7));
  await follow();
  await primary.own('a.db', owned(9));
  await settle();
  assert.deepEqual(replica.ownership('a.db'), owned(9));
});

it('comes again when the disk of the replica could not take it', async () => {
  primary.commit('a.db', PAGES);
  await follow();
  replica.diskIsFull = () => true;
  await primary.own('a.db', owned(7));
  await settle();
  assert.equal(replica.ownership('a.db'), undefined);
  replica.diskIsFull = () => false;
  mock.timers.tick(1000);
  await settle();
  assert.deepEqual(replica.ownership('a.db'), owned(7));
  primary.commit('a.db', new Map([[1, 2n]]));
  await settle();
  assert.deepEqual(replica.positions(), primary.positions());
});

it('comes behind the drop of the database before it', async () => {
  primary.commit('a.db', PAGES);
  await primary.own('a.db', owned(7));
  await follow();
  asked.length = 0;
  // Without a trace in the log: the replica is told to drop it.
  primary.forget('a.db');
  await primary.own('a.db', owned(9));
  primary.commit('a.db', PAGES);
  await settle();
  assert.deepEqual(asked.slice(0, 2), ['drop', 'own']);
  assert.deepEqual(replica.ownership('a.db'), owned(9));
});

it('is not told to a node that does not know of it', async () => {
  primary.commit('a.db', PAGES);
  await primary.own('a.db', owned(7));
  await follow(FEATURE_OWNERSHIP);
  await primary.own('a.db', owned(9));
  await settle();
  assert.equal(replica.ownership('a.db'), undefined);
  assert.deepEqual(replica.positions(), primary.positions());
  assert.equal(link?.ended(), undefined);
});
