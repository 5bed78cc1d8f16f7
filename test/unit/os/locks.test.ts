import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { isOpenElsewhere, ofdLock, ofdTest } from '../../../src/os/locks.ts';
import { withFolder } from './folder.ts';

test('locks of two descriptions of one file exclude each other by bytes', () =>
  withFolder((folder) => {
    const file = `${folder}/f`;
    fs.writeFileSync(file, 'x');
    const a = fs.openSync(file, 'r+');
    const b = fs.openSync(file, 'r+');
    try {
      assert.equal(ofdLock(a, 'write', 10, 2), true);
      assert.equal(ofdLock(b, 'read', 11, 1), false);
      assert.equal(ofdTest(b, 'read', 11, 1), false);
      assert.equal(ofdTest(a, 'write', 11, 1), true, 'own locks are in nobody’s way');
      assert.equal(ofdTest(b, 'write', 12, 1), true);
      assert.equal(ofdLock(a, 'unlock', 10, 2), true);
      assert.equal(ofdLock(b, 'read', 11, 1), true);
      assert.equal(ofdLock(a, 'read', 11, 1), true, 'readers share');
      assert.equal(ofdLock(a, 'write', 11, 1), false);
      const high = 2 ** 40 + 1;
      assert.equal(ofdLock(a, 'write', high, 0), true);
      assert.equal(ofdTest(b, 'write', high + 5, 1), false);
      assert.equal(ofdTest(b, 'write', high - 1, 1), true);
    } finally {
      fs.closeSync(a);
      fs.closeSync(b);
    }
  }));

test('a failure has a code', () => {
  assert.throws(() => ofdLock(-1, 'read', 0, 1), { code: 'EBADF', errno: -9 });
});

test('a file open for writing is seen, one open for reading is not', () =>
  withFolder((folder) => {
    const file = `${folder}/f`;
    fs.writeFileSync(file, 'x');
    const reader = fs.openSync(file, 'r');
    try {
      assert.equal(isOpenElsewhere(reader), false);
      const writer = fs.openSync(file, 'r+');
      assert.equal(isOpenElsewhere(reader), true);
      fs.closeSync(writer);
      assert.equal(isOpenElsewhere(reader), false);
      fs.closeSync(fs.openSync(file, 'r+'));
    } finally {
      fs.closeSync(reader);
    }
  }));
