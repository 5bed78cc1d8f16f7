/** How far behind a primary takes a replica to be. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { MemoryStore } from './memory-store.ts';
import { type Connection, connect, PRIMARY, REPLICA, settle } from './stand.ts';

let nowMs = 0;
const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
let primary: MemoryStore;
let link: Connection;

beforeEach(async () => {
  nowMs = 0;
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  primary = new MemoryStore();
  primary.commit('a.db', new Map([[1, 1n]]));
  const replica = { store: new MemoryStore(), local: REPLICA };
  link = connect(replica, { store: primary, local: PRIMARY }, clock);
  await settle();
});
afterEach(async () => {
  link.cut();
  await settle(4);
  mock.timers.reset();
});

it('is not behind when it has everything, however long ago that was committed', () => {
  nowMs = 60_000;
  assert.equal(link.server.info()?.behindMs, 0);
});

it('is behind by the age of a look, not longer and longer, when there is always something on its way', async () => {
  for (let second = 1; second <= 20; second++) {
    nowMs = second * 1000;
    primary.commit('a.db', new Map([[1, BigInt(second)]]));
    // What was committed at the look before has long been applied; this one has not.
    const { behindMs } = link.server.info() ?? { behindMs: Number.NaN };
    assert(behindMs > 0 && behindMs <= 2000, `${behindMs} ms at second ${second}`);
    await settle();
  }
});
