/** Whether two nodes are the same, by what each has read: yes, no, and cannot tell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare } from '../../../src/daemon/comparison.ts';

const THERE = { position: { txid: 7, checksum: 70n }, pages: 3, badPages: [], reason: '' };
const HERE = { ok: true, txid: 9, recalled: 70n };
const BAD = { ...THERE, badPages: [2], reason: '1 of 3 pages' };

const answer = (...args: Parameters<typeof compare>) => {
  const { sameAsPrimary, notCompared } = compare(...args);
  assert.equal(sameAsPrimary === null, notCompared !== null, 'one of the two says it');
  return sameAsPrimary;
};

test('yes: all pages are well on both sides, and the histories met', () => {
  assert.equal(answer(HERE, THERE), true);
  assert.equal(answer({ ...HERE, txid: 7 }, THERE), true);
});

test('no: of one transaction there are two checksums', () => {
  assert.equal(answer({ ...HERE, recalled: 71n }, THERE), false);
});

test('no: a page is wrong on one side, or on both', () => {
  assert.equal(answer({ ...HERE, ok: false }, THERE), false);
  assert.equal(answer(HERE, BAD), false);
  assert.equal(answer({ ...HERE, ok: false }, BAD), false);
});

test('cannot tell: nothing was read on the primary', () => {
  for (const ok of [true, false]) {
    const found = compare({ ...HERE, ok, recalled: undefined }, { unknown: 'it is gone' });
    assert.deepEqual(found, {
      sameAsPrimary: null,
      notCompared: 'it is gone',
      tryAgain: false,
    });
  }
});

test('cannot tell: this node does not know the checksum after that transaction, which another try may mend', () => {
  for (const there of [THERE, BAD]) {
    const found = compare({ ...HERE, recalled: undefined }, there);
    assert.deepEqual([found.sameAsPrimary, found.tryAgain], [null, true]);
    assert.match(found.notCompared ?? '', /^the primary went on while it was read/);
  }
});

test('cannot tell: this node has not got there', () => {
  const found = compare({ ok: true, txid: 6, recalled: undefined }, THERE);
  assert.deepEqual([found.sameAsPrimary, found.tryAgain], [null, false]);
  assert.match(found.notCompared ?? '', /^this node has not got to transaction 0000000000000007/);
});
