import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agree, INIT_OUT, putInitOut } from '../../../src/fuse/init.ts';

const PASSTHROUGH = 1 << 5;
const POSIX_LOCKS = 1 << 1;
const FLOCK_LOCKS = 1 << 10;
const WRITEBACK_CACHE = 1 << 16;
const HANDLE_KILLPRIV_V2 = 1 << 28;
const INIT_EXT = 1 << 30;

const newest = { major: 7, minor: 45, maxReadahead: 131072, flags: ~0, flags2: ~0 };

test('of a new kernel’s offer, only what is wanted is taken', () => {
  const agreement = agree(newest, true);
  assert.equal(agreement.passthrough, true);
  assert.equal(agreement.flags2, PASSTHROUGH);
  assert.equal(agreement.minor, 40);
  assert.equal(agreement.flags & (POSIX_LOCKS | FLOCK_LOCKS | WRITEBACK_CACHE), 0);
  assert.equal(agree(newest, false).flags2, 0);
});

test('an old kernel gets neither passthrough nor what it does not know', () => {
  // Linux 5.10 speaks 7.32; what its shorter structure leaves behind means nothing.
  const old = { ...newest, minor: 32, flags: ~(INIT_EXT | HANDLE_KILLPRIV_V2) };
  const agreement = agree(old, true);
  assert.equal(agreement.passthrough, false);
  assert.equal(agreement.killsPrivileges, false);
  assert.equal(agreement.minor, 32);
  assert.equal(agreement.flags & INIT_EXT, 0);
});

test('the answer is laid out as the kernel wants it', () => {
  const words = new Uint32Array(INIT_OUT / 4).fill(0xffffffff);
  putInitOut(words, agree(newest, true));
  const bytes = Buffer.from(words.buffer);
  assert.equal(bytes.readUInt32LE(0), 7);
  assert.equal(bytes.readUInt32LE(8), 131072);
  assert.equal(bytes.readUInt32LE(20), 1 << 20, 'max_write');
  assert.equal(bytes.readUInt16LE(28), 256, 'max_pages');
  assert.equal(bytes.readUInt32LE(32), PASSTHROUGH);
  assert.ok(bytes.readUInt32LE(36) > 0, 'max_stack_depth');
  assert.ok(bytes.subarray(40).every((byte) => byte === 0));
});
