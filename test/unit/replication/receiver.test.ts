/** One database on a replica, handed frame by frame what a server might send. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import type { Position } from '../../../src/ltx/position.ts';
import { DatabaseReceiver } from '../../../src/replication/receiver.ts';
import { MemoryStore } from './memory-store.ts';
import { SILENT, settle } from './stand.ts';

const AT: Position = { txid: 9, checksum: 1n };
const BASE = { database: 'a.db', position: AT, pageSize: 8, pageCount: 1, diverged: false };

let store: MemoryStore;
let receiver: DatabaseReceiver;
let discarded: string[];
let requests: { position: Position; pages: boolean }[];
let released: number;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  store = new MemoryStore();
  discarded = [];
  requests = [];
  released = 0;
  receiver = new DatabaseReceiver('a.db', store, SILENT, {
    applied() {},
    request: (_, position, pages) => requests.push({ position, pages }),
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
