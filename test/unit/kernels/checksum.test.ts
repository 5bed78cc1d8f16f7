import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { CHECKSUM_FLAG, Crc64, pageChecksum } from '../../../src/kernels/checksum.ts';
import { KERNEL_SOURCE_SHA256 } from '../../../src/kernels/kernel-bytes.ts';

const POLYNOMIAL = 0xd800000000000000n;

/** The textbook CRC, one bit at a time. */
function crcByBits(bytes: Uint8Array): bigint {
  let state = 0xffffffffffffffffn;
  for (const byte of bytes) {
    state ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) {
      state = (state & 1n) === 1n ? (state >> 1n) ^ POLYNOMIAL : state >> 1n;
    }
  }
  return state ^ 0xffffffffffffffffn;
}

test('the CRC of "123456789" is the check value of CRC-64/GO-ISO', () => {
  assert.equal(new Crc64().update(Buffer.from('123456789')).digest(), 0xb90956c775a41001n);
});

test('any bytes, in any pieces, have the CRC of the textbook', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }), (pieces) => {
      const crc = new Crc64();
      for (const piece of pieces) crc.update(piece);
      assert.equal(crc.digest(), crcByBits(Buffer.concat(pieces)));
    }),
  );
});

test('more than the kernel takes at once is hashed in parts', () => {
  const bytes = Buffer.alloc(150_001, 'abcdefg');
  assert.equal(new Crc64().update(bytes).digest(), crcByBits(bytes));
});

test('a page checksum covers the number and the page, and has bit 63 set', () => {
  const page = Buffer.alloc(512, 7);
  const expected = crcByBits(Buffer.concat([Buffer.from([0x81, 2, 3, 4]), page]));
  assert.equal(pageChecksum(0x81020304, page), expected | CHECKSUM_FLAG);
});

test('the compiled kernel is of the present source', () => {
  const source = fs.readFileSync(new URL('../../../src/kernels/wasm/kernel.as', import.meta.url));
  const hash = createHash('sha256').update(source).digest('hex');
  assert.equal(hash, KERNEL_SOURCE_SHA256, 'run scripts/build-kernel.sh');
});
