import assert from 'node:assert';
import { test } from 'node:test';
import { WAL_READ_SLOT, WAL_RECOVER_SLOT } from '../../../src/sqlite/locks.ts';
import { BACKFILL_ATTEMPTED_OFFSET } from '../../../src/sqlite/wal-index.ts';
import {
  beginRead,
  checkpointLimit,
  endRead,
  publishHeader,
  tryRestart,
} from '../../../src/sqlite/wal-locks.ts';
import { headerWith, ShmModel } from './shm-model.ts';

const UNUSED = 0xffffffff;

function begin(model: ShmModel) {
  const read = beginRead(model.client());
  assert(typeof read === 'object');
  return { slot: read.slot, mark: read.mark, mxFrame: read.header.mxFrame };
}

test('a log that is all in the database is not read: slot 0', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 9, marks: [9, UNUSED, UNUSED, UNUSED] });
  assert.deepEqual(begin(model), { slot: 0, mark: 0, mxFrame: 9 });
  assert.deepEqual(model.locked, [WAL_READ_SLOT(0)]);
  const empty = new ShmModel({ mxFrame: 0, backfill: 0, marks: [0, UNUSED, UNUSED, UNUSED] });
  assert.deepEqual(begin(empty), { slot: 0, mark: 0, mxFrame: 0 });
});

test('while a checkpoint holds slot 0, a mark is taken instead', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 9, marks: [9, UNUSED, UNUSED, UNUSED] });
  model.hold(0, 'exclusive');
  assert.deepEqual(begin(model), { slot: 1, mark: 9, mxFrame: 9 });
});

test('the mark of the last frame is shared; else one that nobody holds is raised', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 0, marks: [4, 9, 2, UNUSED] });
  assert.deepEqual(begin(model), { slot: 2, mark: 9, mxFrame: 9 });
  assert.deepEqual(begin(model), { slot: 2, mark: 9, mxFrame: 9 });
  assert.deepEqual(model.parsed.checkpoint.readMarks.slice(1), [4, 9, 2, UNUSED]);

  const older = new ShmModel({ mxFrame: 9, backfill: 0, marks: [4, 3, 2, UNUSED] });
  older.hold(1);
  assert.deepEqual(begin(older), { slot: 2, mark: 9, mxFrame: 9 });
  assert.deepEqual(older.parsed.checkpoint.readMarks.slice(1), [4, 9, 2, UNUSED]);
});

test('when all marks are held, the best one below the last frame does', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 0, marks: [4, 7, 2, 12] });
  for (const i of [1, 2, 3, 4]) model.hold(i);
  assert.deepEqual(begin(model), { slot: 2, mark: 7, mxFrame: 9 });
  const none = new ShmModel({ mxFrame: 9, backfill: 0, marks: [12, 12, UNUSED, 12] });
  for (const i of [1, 2, 3, 4]) none.hold(i);
  assert.equal(beginRead(none.client()), 'retry');
});

test('endRead lets go of the slot', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 3, marks: [9, UNUSED, UNUSED, UNUSED] });
  const client = model.client();
  const read = beginRead(client);
  assert(typeof read === 'object');
  assert.deepEqual(model.locked, [WAL_READ_SLOT(1)]);
  endRead(client, read);
  assert.deepEqual(model.locked, []);
});

test('a commit or a restart at any moment leads to a retry, or to a snapshot that is still whole', () => {
  for (const backfill of [0, 9]) {
    for (const kind of ['commit', 'restart'] as const) {
      let retries = 0;
      for (let moment = 0; moment < 12; moment++) {
        const model = new ShmModel({ mxFrame: 9, backfill, marks: [5, UNUSED, UNUSED, UNUSED] });
        let calls = 0;
        let happened = false;
        const client = model.client(() => {
          if (calls++ !== moment) return;
          const writer = model.client();
          if (kind === 'commit') publishHeader(writer, headerWith(10));
          else if (!tryRestart(writer, headerWith(9), 77)) return;
          happened = true;
        });
        const read = beginRead(client);
        if (read === 'retry') {
          retries++;
          assert.deepEqual(model.locked, [], 'a retry holds nothing');
          continue;
        }
        assert(typeof read === 'object');
        // Whatever happened, happened before the last look.
        if (happened) assert.deepEqual(read.header, model.parsed.header);
        assert.equal(model.parsed.checkpoint.readMarks[read.slot], read.mark);
      }
      if (kind === 'commit' || backfill === 9) assert(retries > 0, `${kind} ${backfill}`);
    }
  }
});

test('a mark that somebody else moved before it was locked leads to a retry', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 0, marks: [9, UNUSED, UNUSED, UNUSED] });
  const checkpointer = model.client();
  const client = model.client((call) => {
    if (call === 'lock') checkpointLimit(checkpointer, headerWith(12));
  });
  assert.equal(beginRead(client), 'retry');
  assert.deepEqual(model.locked, []);
});

test('a torn or missing header is to be tried again, or waited for while it is recovered', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 0, marks: [9, UNUSED, UNUSED, UNUSED] });
  model.bytes[16] ^= 1;
  assert.equal(beginRead(model.client()), 'retry');
  assert.deepEqual(model.locked, []);
  assert(model.client().lock(WAL_RECOVER_SLOT, 1, 'exclusive'));
  assert.equal(beginRead(model.client()), 'busy');
});

test('an index of another version is refused', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 0, marks: [9, UNUSED, UNUSED, UNUSED] });
  publishHeader(model.client(), { ...headerWith(9), version: 3007001 });
  assert.throws(() => beginRead(model.client()), { code: 'DATABASE_CORRUPT' });
});

test('a checkpoint goes as far as the oldest snapshot in use and moves unused marks away', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 0, marks: [4, 6, 2, UNUSED] });
  const release = model.hold(2);
  assert.equal(checkpointLimit(model.client(), headerWith(9)), 6);
  assert.deepEqual(model.parsed.checkpoint.readMarks.slice(1), [9, 6, UNUSED, UNUSED]);
  release();
  assert.equal(checkpointLimit(model.client(), headerWith(9)), 9);
  assert.deepEqual(model.parsed.checkpoint.readMarks.slice(1), [9, UNUSED, UNUSED, UNUSED]);
  assert.deepEqual(model.locked, []);
});

test('the log starts over only when it is all copied and nobody reads it', () => {
  const partly = new ShmModel({ mxFrame: 9, backfill: 8, marks: [9, 3, UNUSED, UNUSED] });
  assert.equal(tryRestart(partly.client(), headerWith(9), 77), undefined);
  const empty = new ShmModel({ mxFrame: 0, backfill: 0, marks: [0, UNUSED, UNUSED, UNUSED] });
  assert.equal(tryRestart(empty.client(), headerWith(0), 77), undefined);

  const model = new ShmModel({ mxFrame: 9, backfill: 9, marks: [9, 3, UNUSED, UNUSED] });
  const release = model.hold(3);
  assert.equal(tryRestart(model.client(), headerWith(9), 77), undefined);
  release();
  model.hold(0);
  model.bytes.writeUInt32LE(9, BACKFILL_ATTEMPTED_OFFSET);
  const restarted = tryRestart(model.client(), headerWith(9), 77);
  assert.deepEqual(restarted, { ...headerWith(9), mxFrame: 0, salt1: 0, salt2: 77 });
  const { header, consistent, checkpoint } = model.parsed;
  assert(consistent);
  assert.deepEqual(header, restarted);
  assert.equal(checkpoint.backfill, 0);
  assert.equal(checkpoint.backfillAttempted, 0);
  assert.deepEqual(checkpoint.readMarks, [0, 0, UNUSED, UNUSED, UNUSED]);
  assert.deepEqual(model.locked, [WAL_READ_SLOT(0)]);
});

test('a header is published second copy first', () => {
  const model = new ShmModel({ mxFrame: 9, backfill: 0, marks: [9, UNUSED, UNUSED, UNUSED] });
  const offsets: number[] = [];
  const client = model.client();
  publishHeader(
    {
      ...client,
      writeShm: (offset, bytes) => offsets.push(offset) && client.writeShm(offset, bytes),
    },
    headerWith(10),
  );
  assert.deepEqual(offsets, [48, 0]);
  assert.equal(model.parsed.header.mxFrame, 10);
});
