/** The words that three threads share: what one sets, another that has the same memory sees. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedState } from '../../../src/mount/shared-state.ts';

/** Two views of one memory, as two threads have them. */
function pair(): [SharedState, SharedState] {
  const ours = new SharedState();
  return [ours, new SharedState(ours.buffer)];
}

test('each word is seen by the other, and none is in the way of another', () => {
  const [ours, theirs] = pair();
  assert.equal(theirs.role, 'primary', 'as it begins');
  ours.role = 'replica';
  ours.engineThread = 4321;
  ours.setAnswer('answer\n');
  ours.setPrimary('node-a');
  ours.setLag(12.5, 1_700_000_000_123);
  assert.equal(theirs.role, 'replica');
  assert.equal(theirs.engineThread, 4321);
  assert.equal(theirs.answer.toString(), 'answer\n');
  assert.equal(theirs.primary?.toString(), 'node-a\n');
  assert.equal(theirs.lagMs, 12.5);
  assert.equal(theirs.lagClockMs, 1_700_000_000_123);
});

test('the bytes lie where the document says', () => {
  const [ours] = pair();
  ours.role = 'replica';
  ours.engineThread = 0x01020304;
  ours.setLag(1, 2);
  ours.setAnswer('a');
  ours.setPrimary('p');
  ours.requestCounts[3] = 5;
  const view = new DataView(ours.buffer);
  ours.setHalt('open', 'd/b');
  ours.setHalt('closing');
  ours.haltWalBytes = 3;
  ours.nameChanged();
  ours.passesAll = true;
  ours.setLent(77n, true);
  assert.equal(ours.buffer.byteLength, 5240);
  assert.equal(view.getBigInt64(4728, true), 77n);
  assert.equal(view.getInt32(608, true), 2);
  assert.equal(view.getInt32(612, true), 3);
  assert.equal(view.getFloat64(616, true), 3);
  assert.equal(view.getInt32(4720, true), 1);
  assert.equal(view.getUint8(624), 'd'.charCodeAt(0));
  assert.equal(view.getInt32(0, true), 1);
  assert.equal(view.getInt32(4, true), 0x01020304);
  assert.equal(view.getInt32(8, true), 1);
  assert.equal(view.getInt32(12, true), 2);
  assert.equal(view.getFloat64(16, true), 1);
  assert.equal(view.getFloat64(24, true), 2);
  assert.equal(view.getUint8(32), 'a'.charCodeAt(0));
  assert.equal(view.getUint8(96), 'p'.charCodeAt(0));
  assert.equal(view.getUint32(352 + 4 * 3, true), 5);
});

test('tells of which databases the write lock is lent, as many as there is room for', () => {
  const [ours, theirs] = pair();
  assert.equal(
    theirs.isLent(() => assert.fail('nothing is lent')),
    false,
  );
  for (let inode = 1n; inode <= 64n; inode++) assert.equal(ours.setLent(inode, true), true);
  assert.equal(ours.setLent(65n, true), false);
  assert.equal(
    theirs.isLent(() => 7n),
    true,
  );
  assert.equal(
    theirs.isLent(() => undefined),
    false,
  );
  assert.equal(ours.setLent(7n, false), true);
  assert.equal(
    theirs.isLent(() => 7n),
    false,
  );
  assert.equal(ours.setLent(65n, true), true);
});

test('a shorter text leaves nothing of a longer one', () => {
  const [ours, theirs] = pair();
  ours.setAnswer('a long answer');
  ours.setAnswer('short');
  assert.equal(theirs.answer.toString(), 'short');
  ours.setPrimary('a-long-host-name');
  ours.setPrimary('b');
  assert.equal(theirs.primary?.toString(), 'b\n');
  ours.setPrimary(undefined);
  assert.equal(theirs.primary, undefined);
});

test('what is too long is cut, and does not run into the next word', () => {
  const [ours, theirs] = pair();
  ours.setPrimary('b');
  ours.setAnswer('x'.repeat(1000));
  assert.equal(theirs.answer.length, 64);
  assert.equal(theirs.primary?.toString(), 'b\n');
  ours.setPrimary('y'.repeat(1000));
  assert.equal(theirs.primary?.length, 256);
});

test('never in sync is not a lag of zero', () => {
  const [ours, theirs] = pair();
  ours.setLag(undefined, 0);
  assert.equal(theirs.lagMs, undefined);
  ours.setLag(0, 0);
  assert.equal(theirs.lagMs, 0);
});

test('one database has the halt lock, and only by its own name', () => {
  const [ours, theirs] = pair();
  assert.equal(theirs.haltOf('app.db'), 'none');
  ours.setHalt('open', 'dir/app.db');
  assert.equal(theirs.haltOf('dir/app.db'), 'open');
  assert.deepEqual(
    ['app.db', 'dir/app.dc', 'dir/app.db2', ''].map((name) => theirs.haltOf(name)),
    ['none', 'none', 'none', 'none'],
  );
  ours.setHalt('closing');
  assert.equal(theirs.haltOf('dir/app.db'), 'closing');
  ours.setHalt('none');
  assert.equal(theirs.haltOf('dir/app.db'), 'none');
});
