/** A database that cannot be applied, of which more comes than may be in flight. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { MemoryStore } from './memory-store.ts';
import { type Connection, connect, PRIMARY, REPLICA, settle, until } from './stand.ts';

const MIB = 1 << 20;
let nowMs = 0;
const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
let link: Connection;

beforeEach(() => {
  nowMs = 0;
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
});
afterEach(async () => {
  link.cut();
  await settle(4);
  mock.timers.reset();
});

it('holds up the others for a while only, and is asked for again when it can', async () => {
  const [primary, replica] = [new MemoryStore(), new MemoryStore()];
  primary.commit('a.db', new Map([[1, 1n]]));
  const [entry] = primary.databases.get('a.db')?.log ?? [];
  const readLog = primary.readLog.bind(primary);
  const large = { ...entry, post: entry.pre, source: { bytes: Buffer.alloc(MIB) } };
  let left = 60;
  primary.readLog = async (name, after) => {
    if (name !== 'a.db' || left-- <= 0) return readLog(name, after);
    return { kind: 'entries', entries: [large], logBytes: MIB, databaseBytes: MIB };
  };
  const gate = Promise.withResolvers<void>();
  const apply = replica.apply.bind(replica);
  let stuck = 0;
  replica.apply = async (received) => {
    if (!('bytes' in received.source) || received.source.bytes.length < MIB) return apply(received);
    stuck++;
    await gate.promise;
    return large.post;
  };
  link = connect({ store: replica, local: REPLICA }, { store: primary, local: PRIMARY }, clock);
  await until(() => stuck === 17);
  primary.commit('b.db', new Map([[1, 1n]]));
  for (let second = 0; second < 9; second++) await passSecond();
  assert.equal(replica.databases.size, 0);
  for (let second = 0; second < 3; second++) await passSecond();
  await until(() => replica.databases.has('b.db'));
  await until(() => left < 0);
  assert.equal(stuck, 17, 'no more of it was taken in');
  gate.resolve();
  await until(() => replica.databases.has('a.db'));
  assert.deepEqual(replica.positions(), primary.positions());
});

async function passSecond(): Promise<void> {
  nowMs += 1000;
  mock.timers.tick(1000);
  await settle(20);
}
