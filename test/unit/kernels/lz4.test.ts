import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { lz4Compress, lz4Decompress, lz4Literals } from '../../../src/kernels/lz4.ts';

/** Text-like, repetitive and random parts, as pages are. */
const content = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .tuple(fc.uint8Array({ minLength: 1, maxLength: 9 }), fc.nat(400))
        .map(([unit, times]) => Buffer.alloc(unit.length * times, unit)),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Buffer.concat(parts));

test('what is compressed decompresses to itself', () => {
  fc.assert(
    fc.property(content, (data) => {
      const block = Buffer.from(lz4Compress(data));
      const back = Buffer.alloc(data.length);
      assert.ok(lz4Decompress(block, back));
      assert.ok(back.equals(data));
    }),
    { numRuns: 500 },
  );
});

test('a run of literals is a block like any other', () => {
  for (const size of [0, 1, 14, 15, 16, 269, 270, 271, 4096, 65536]) {
    const data = randomBytes(size);
    const block = Buffer.alloc(size + 300);
    const length = lz4Literals(data, block);
    const back = Buffer.alloc(size);
    assert.ok(lz4Decompress(block.subarray(0, length), back), `${size} bytes`);
    assert.ok(back.equals(data));
  }
});

test('a page of zeros shrinks to almost nothing', () => {
  assert.ok(lz4Compress(Buffer.alloc(65536)).length < 300);
});

test('damaged blocks are refused or decompress to something of the right size, and never past it', () => {
  fc.assert(
    fc.property(content, fc.nat(), fc.nat(255), (data, at, byte) => {
      const block = Buffer.from(lz4Compress(data));
      assert.equal(lz4Decompress(block, Buffer.alloc(data.length + 1)), false);
      block[at % block.length] = byte;
      // Whether it makes content of that size by chance, only the checksum of the file can tell that it is wrong.
      const room = Buffer.alloc(data.length + 8, 0xa5);
      assert.equal(typeof lz4Decompress(block, room.subarray(0, data.length)), 'boolean');
      assert.ok(room.subarray(data.length).every((value) => value === 0xa5));
    }),
    { numRuns: 500 },
  );
});

test('a block made by the reference implementation is read', () => {
  // `lz4 -9` of 16 times "abcdefgh", block only.
  const block = Buffer.from('8f61626364656667680800', 'hex');
  const whole = Buffer.concat([
    block,
    Buffer.from([128 - 8 - 19 - 5]),
    Buffer.from('50', 'hex'),
    Buffer.from('defgh'),
  ]);
  const back = Buffer.alloc(128);
  assert.ok(lz4Decompress(whole, back));
  assert.equal(back.toString(), 'abcdefgh'.repeat(16));
});
