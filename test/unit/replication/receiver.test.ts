/** One database on a replica, handed frame by frame what a server might send. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import type { Position } from '../../../src/ltx/position.ts';
import { DatabaseReceiver } from '../../../src/replication/receiver.ts';
import { MemoryStore, nextRecord } from './memory-store.ts';
import { SILENT, settle } from './stand.ts';

const AT: Position = { txid: 9, checksum: 1n };
const BASE = { database: 'a.db', position: AT, pageSize: 8, pageCount: 1, diverged: false };

let store: MemoryStore;
let receiver: DatabaseReceiver;
let discarded: string[];
let requests: { position: Position; pages: boolean }[];
let released: number;
/** Whether the server says when it has taken a request. */
let answers: boolean;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  store = new MemoryStore();
  discarded = [];
  requests = [];
  released = 0;
  answers = false;
  receiver = new DatabaseReceiver('a.db', store, SILENT, {
    applied() {},
    request: (_, position, pages) => {
      requests.push({ position, pages });
      return answers;
    },
    released: (bytes) => {
      released += bytes;
    },
    discarded: (path) => discarded.push(path),
  });
});
afterEach(() => {
  receiver.close();
  mock.timers.reset();
});

it('is called by its name in the log, whose bytes are UTF-8', () => {
  const lines: [object, string][] = [];
  const info = (fields: object, text: string) => lines.push([fields, text]);
  const nothing = () => {};
  const events = {
    applied: nothing,
    request: () => false,
    released: nothing,
    discarded: nothing,
  };
  const database = Buffer.from('bücher.db').toString('latin1');
  const named = new DatabaseReceiver(database, store, { ...SILENT, info }, events);
  named.begin({ ...BASE, database, reason: 'away for long' });
  named.close();
  assert.deepEqual(lines, [
    [
      { database: 'bücher.db', diverged: false },
      'bücher.db is being resynchronised: away for long',
    ],
  ]);
});

it('leaves no spool file behind of what comes after a failure', async () => {
  store.apply = () => Promise.reject(new LiteFsError('CHECKSUM_MISMATCH', 'no'));
  receiver.entry({ path: 'first' }, 1);
  await settle(4);
  receiver.entry({ path: 'second' }, 1);
  assert.deepEqual(discarded, ['second'], 'the first is the affair of the store');
  assert.equal(released, 2);
});

it('leaves no spool file behind of a resync that cannot go on', async () => {
  store.beginResync = () => Promise.reject(new LiteFsError('DISK', 'no space left'));
  receiver.begin({ ...BASE, reason: '' });
  receiver.entry({ path: 'first' }, 1);
  receiver.entry({ path: 'second' }, 1);
  await settle(4);
  assert.deepEqual(discarded, ['first', 'second']);
  assert.equal(released, 2);
});

it('asks for nothing more after a drop, and takes what is made anew', async () => {
  store.commit('a.db', new Map([[1, 1n]]));
  receiver.entry({ bytes: entryOf(2) }, 1);
  await settle(4);
  receiver.dropped(false);
  // At once, as in one piece of what came.
  receiver.entry({ bytes: entryOf(1) }, 1);
  mock.timers.tick(60_000);
  await settle(8);
  assert.deepEqual(requests, []);
  assert.equal(store.positions().get('a.db')?.txid, 1);
  assert.deepEqual(store.databases.get('a.db')?.pages, new Map([[1, 11n]]));
  assert.equal(released, 2);
});

it('leaves out what was on its way when it asked, until the server has taken that', async () => {
  answers = true;
  const primary = new MemoryStore();
  for (let i = 1; i <= 3; i++) primary.commit('a.db', new Map([[i, BigInt(i)]]));
  const [first, second, third] = (primary.databases.get('a.db')?.log ?? []).map(
    ({ source }) => source,
  );
  const apply = store.apply.bind(store);
  store.apply = () => Promise.reject(new LiteFsError('DISK', 'no space left'));
  receiver.entry(first as { bytes: Uint8Array }, 1);
  await settle(4);
  store.apply = apply;
  mock.timers.tick(1000);
  assert.deepEqual(requests, [{ position: { txid: 0, checksum: 0n }, pages: false }]);
  // It follows what could not be applied, not our position.
  receiver.entry(second as { bytes: Uint8Array }, 1);
  receiver.dropped(true);
  receiver.compare({ txid: 0, checksum: 5n });
  receiver.answered();
  for (const source of [first, second, third]) receiver.entry(source as { bytes: Uint8Array }, 1);
  await settle(20);
  assert.deepEqual(store.positions(), primary.positions());
  assert.deepEqual([requests.length, store.kept, released], [1, [], 5]);
  // One that nobody waits for.
  receiver.answered();
  primary.commit('a.db', new Map([[1, 7n]]));
  receiver.entry({ bytes: bytesOfLast(primary) }, 1);
  await settle(4);
  assert.deepEqual(store.positions(), primary.positions());
});

it('stays held when an answer comes that it asked for before', async () => {
  answers = true;
  store.apply = () => Promise.reject(new LiteFsError('DISK', 'no space left'));
  receiver.entry({ bytes: entryOf(1) }, 1);
  await settle(4);
  mock.timers.tick(1000);
  assert.equal(requests.length, 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  receiver.hold(promise);
  receiver.answered();
  receiver.entry({ bytes: entryOf(1) }, 1);
  assert.equal(released, 2, 'it is left out at once');
  resolve();
  await settle(4);
  assert.equal(requests.length, 2);
});

it('finishes a resync before it applies what came after it', async () => {
  const primary = new MemoryStore();
  primary.commit('a.db', new Map([[1, 11n]]));
  receiver.begin({ ...BASE, position: positionIn(primary), reason: '' });
  const cut = await primary.cutPages('a.db', undefined);
  receiver.pages([(await nextRecord(cut)) as Buffer]);
  receiver.end(positionIn(primary));
  primary.commit('a.db', new Map([[1, 12n]]));
  receiver.entry({ bytes: bytesOfLast(primary) }, 1);
  await settle(20);
  assert.deepEqual(store.databases.get('a.db')?.pages, new Map([[1, 12n]]));
  assert.deepEqual(requests, []);
});

it('leaves a resync that is under way for another, and does not take that for a failure', async () => {
  const primary = new MemoryStore();
  primary.commit('a.db', new Map([[1, 11n]]));
  const begin = () => receiver.begin({ ...BASE, position: positionIn(primary), reason: '' });
  const aborted: number[] = [];
  const beginResync = store.beginResync.bind(store);
  let begun = 0;
  store.beginResync = async (...args) => {
    const resync = await beginResync(...args);
    const number = ++begun;
    const refuse = () => Promise.reject(new LiteFsError('WRONG_STATE', 'that has ended already'));
    const pages = (records: readonly Uint8Array[]) =>
      aborted.includes(number) ? refuse() : resync.pages(records);
    return { ...resync, pages, abort: async () => void aborted.push(number) };
  };
  const cut = await primary.cutPages('a.db', undefined);
  const records = (await nextRecord(cut)) as Buffer;
  begin();
  await settle(4);
  for (let i = 0; i < 3; i++) receiver.pages([records]);
  begin();
  receiver.pages([records]);
  receiver.end(positionIn(primary));
  await settle(20);
  mock.timers.tick(60_000);
  assert.deepEqual(requests, []);
  assert.deepEqual(aborted, [1]);
  assert.deepEqual(store.positions(), primary.positions());
});

/** The entry that leads to a transaction of a database that never had but one page. */
function entryOf(txid: number): Uint8Array {
  const other = new MemoryStore();
  for (let i = 1; i <= txid; i++) other.commit('a.db', new Map([[1, BigInt(10 + i)]]));
  return bytesOfLast(other);
}

function bytesOfLast({ databases }: MemoryStore): Uint8Array {
  const source = databases.get('a.db')?.log.at(-1)?.source;
  assert(source && 'bytes' in source);
  return source.bytes;
}

function positionIn(other: MemoryStore): Position {
  const position = other.positions().get('a.db');
  assert(position);
  return position;
}
