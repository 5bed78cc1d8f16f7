import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LiteFsError } from '../../../src/errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../../../src/kernels/checksum.ts';
import { compact } from '../../../src/ltx/compact.ts';
import { LtxDecoder } from '../../../src/ltx/decoder.ts';
import { LtxEncoder } from '../../../src/ltx/encoder.ts';
import { decodeHeader, encodeHeader, type LtxHeader } from '../../../src/ltx/header.ts';
import { ltxFileName, parseLtxFileName } from '../../../src/ltx/names.ts';
import { readPageIndex } from '../../../src/ltx/page-index.ts';
import { memorySink, memorySource } from '../../../src/ltx/sources.ts';

const PAGE_SIZE = 512;

function header(fields: Partial<LtxHeader>): LtxHeader {
  return {
    flags: 0,
    pageSize: PAGE_SIZE,
    commit: 10,
    minTxid: 1,
    maxTxid: 1,
    timestampMs: 1_700_000_000_000,
    preChecksum: 0n,
    walOffset: 0,
    walSize: 0,
    walSalt1: 0,
    walSalt2: 0,
    nodeId: 0x1122334455667788n,
    ...fields,
  };
}

function encode(head: LtxHeader, pages: [number, Buffer][], post: bigint, compress = true): Buffer {
  const sink = memorySink();
  const encoder = new LtxEncoder(sink, head, { compress });
  for (const [pgno, data] of pages) encoder.page(pgno, data);
  encoder.finish(post);
  return sink.bytes();
}

function decode(bytes: Uint8Array) {
  const decoder = new LtxDecoder(memorySource(bytes));
  const pages: [number, Buffer][] = [];
  for (let page = decoder.next(); page; page = decoder.next()) {
    pages.push([page.pgno, Buffer.from(page.data)]);
  }
  return { header: decoder.header, pages, trailer: decoder.finish() };
}

const pagesOf = (count: number) =>
  fc
    .uniqueArray(fc.integer({ min: 1, max: count }), { maxLength: count })
    .chain((numbers) =>
      fc.tuple(
        ...numbers
          .sort((a, b) => a - b)
          .map((n) =>
            fc.nat(255).map((fill) => [n, Buffer.alloc(PAGE_SIZE, fill)] as [number, Buffer]),
          ),
      ),
    );

test('what is encoded decodes to itself, compressed or not', () => {
  fc.assert(
    fc.property(
      pagesOf(10),
      fc.boolean(),
      fc.bigInt(0n, CHECKSUM_FLAG - 1n),
      (pages, compress, sum) => {
        const head = header({ minTxid: 5, maxTxid: 9, preChecksum: 3n | CHECKSUM_FLAG });
        const back = decode(encode(head, pages, sum | CHECKSUM_FLAG, compress));
        assert.deepEqual(back.header, head);
        assert.deepEqual(back.pages, pages);
        assert.equal(back.trailer.postChecksum, sum | CHECKSUM_FLAG);
      },
    ),
  );
});

test('a file is, byte for byte, what the format says', () => {
  const page = Buffer.alloc(PAGE_SIZE, 0x41);
  const sum = pageChecksum(1, page) | CHECKSUM_FLAG;
  const bytes = encode(header({ commit: 1 }), [[1, page]], sum, false);
  assert.equal(bytes.toString('latin1', 0, 4), 'LTX1');
  assert.equal(bytes.readUInt32BE(8), PAGE_SIZE);
  const block = 3 + PAGE_SIZE;
  assert.equal(
    bytes.toString('hex', 100, 110),
    `00000001${'0001'}${block.toString(16).padStart(8, '0')}`,
  );
  const endOfPages = 110 + block;
  assert.equal(bytes.toString('hex', endOfPages, endOfPages + 6), '000000000000');
  // page 1, offset 100, size 10 + 515 = 525 = 0x8d 0x04
  assert.equal(
    bytes.toString('hex', endOfPages + 6, endOfPages + 19),
    '01648d04000000000000000005'.padEnd(26, '0').slice(0, 26),
  );
  assert.equal(bytes.readBigUInt64BE(bytes.length - 16), sum);
  assert.equal(bytes.length, endOfPages + 6 + 13 + 16);
});

test('the page index leads to the frames', () => {
  const bytes = encode(
    header({}),
    [
      [2, Buffer.alloc(PAGE_SIZE, 1)],
      [7, Buffer.alloc(PAGE_SIZE, 2)],
    ],
    CHECKSUM_FLAG,
  );
  const indexBytes = Number(bytes.readBigUInt64BE(bytes.length - 24));
  const index = [
    ...readPageIndex(bytes.subarray(bytes.length - 24 - indexBytes, bytes.length - 24)),
  ];
  assert.deepEqual(
    index.map((entry) => entry.pgno),
    [2, 7],
  );
  for (const entry of index) assert.equal(bytes.readUInt32BE(entry.offset), entry.pgno);
});

test('a flipped bit anywhere is found, unless the pages are the same all the same', () => {
  const pages: [number, Buffer][] = [
    [1, Buffer.alloc(PAGE_SIZE, 1)],
    [3, Buffer.from('x'.repeat(PAGE_SIZE))],
  ];
  const bytes = encode(header({}), pages, 5n | CHECKSUM_FLAG);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(7), (at, bit) => {
      const damaged = Buffer.from(bytes);
      damaged[at] ^= 1 << bit;
      try {
        // Another LZ4 block may stand for the same page: that is no damage.
        assert.deepEqual(decode(damaged).pages, pages);
        assert.ok(at >= 110);
      } catch (error) {
        assert.ok(error instanceof LiteFsError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test('arbitrary bytes and cut files are refused, never worse', () => {
  const bytes = encode(header({}), [[1, Buffer.alloc(PAGE_SIZE, 1)]], CHECKSUM_FLAG);
  for (let length = 0; length < bytes.length; length += 7) {
    assert.throws(() => decode(bytes.subarray(0, length)), LiteFsError);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (tail) => {
      assert.throws(() => decode(Buffer.concat([bytes.subarray(0, 100), tail])), LiteFsError);
    }),
  );
});

test('a header with a time in no calendar is a damaged one: nothing could be told of it', () => {
  const bytes = encodeHeader(header({ timestampMs: 8.64e15 }));
  assert.equal(decodeHeader(bytes).timestampMs, 8.64e15);
  bytes.writeBigUInt64BE(8_640_000_000_000_001n, 32);
  assert.throws(() => decodeHeader(bytes), { code: 'LTX_CORRUPT', message: /in no calendar/ });
});

test('merging keeps of each page the newest image within the final size', () => {
  fc.assert(
    fc.property(
      fc.array(pagesOf(10), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 10 }),
      (files, commit) => {
        const expected = new Map<number, Buffer>();
        const inputs = files.map((pages, i) => {
          for (const [pgno, data] of pages) expected.set(pgno, data);
          const last = i === files.length - 1;
          const kept = last ? pages.filter(([pgno]) => pgno <= commit) : pages;
          return memorySource(
            encode(
              header({ minTxid: i + 1, maxTxid: i + 1, commit: last ? commit : 10 }),
              kept,
              BigInt(i) | CHECKSUM_FLAG,
            ),
          );
        });
        // What the last file would have beyond its size is not in it.
        for (const [pgno] of files.at(-1) ?? []) if (pgno > commit) expected.delete(pgno);
        const sink = memorySink();
        const steps = compact(inputs, sink, { compress: true });
        while (!steps.next().done);
        const merged = decode(sink.bytes());
        const wanted = [...expected].filter(([pgno]) => pgno <= commit).sort((a, b) => a[0] - b[0]);
        assert.deepEqual(merged.pages, wanted);
        assert.equal(merged.header.minTxid, 1);
        assert.equal(merged.header.maxTxid, files.length);
        assert.equal(merged.trailer.postChecksum, BigInt(files.length - 1) | CHECKSUM_FLAG);
      },
    ),
  );
});

test('merging takes a file that begins before the one before it ends, and none that ends before it', () => {
  const file = (minTxid: number, maxTxid: number, pages: [number, string][]) =>
    encode(
      header({ minTxid, maxTxid, commit: 3 }),
      pages.map(([pgno, letter]) => [pgno, Buffer.alloc(PAGE_SIZE, letter)]),
      BigInt(maxTxid) | CHECKSUM_FLAG,
    );
  const merge = (...files: Buffer[]) => {
    const sink = memorySink();
    for (const _ of compact(files.map(memorySource), sink, { compress: true }));
    return decode(sink.bytes());
  };
  const base = file(1, 5, [
    [1, 'a'],
    [2, 'a'],
    [3, 'a'],
  ]);
  const merged = merge(base, file(4, 7, [[2, 'b']]), file(6, 9, [[3, 'c']]));
  assert.deepEqual([merged.header.minTxid, merged.header.maxTxid], [1, 9]);
  assert.deepEqual(
    merged.pages.map(([pgno, data]) => [pgno, String.fromCharCode(data[0])]),
    [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ],
  );
  assert.equal(merged.trailer.postChecksum, 9n | CHECKSUM_FLAG);
  assert.throws(() => merge(base, file(2, 5, [[2, 'b']])), /ends with transaction 5, not behind 5/);
  assert.throws(() => merge(base, file(7, 8, [[2, 'b']])), /begins with transaction 7, not 6/);
});

test('names hold the transactions', () => {
  assert.equal(ltxFileName(1, 255), '0000000000000001-00000000000000ff.ltx');
  assert.deepEqual(parseLtxFileName(ltxFileName(1, 255)), { minTxid: 1, maxTxid: 255 });
  assert.equal(parseLtxFileName('0000000000000002-0000000000000001.ltx'), undefined);
  assert.equal(parseLtxFileName('x.ltx'), undefined);
});
