/**
 * LTX files. Most are made of parts that were changed before they were put together, with the checksum and the index that such a
 * file would have: so what is behind those is reached, too.
 */
import assert from 'node:assert/strict';
import { CHECKSUM_FLAG, Crc64 } from '../../../../src/kernels/checksum.ts';
import { lz4Compress, lz4Decompress, lz4Literals } from '../../../../src/kernels/lz4.ts';
import { canCompact, compact } from '../../../../src/ltx/compact.ts';
import { LtxDecoder } from '../../../../src/ltx/decoder.ts';
import { encodeHeader, type LtxHeader } from '../../../../src/ltx/header.ts';
import { PageIndexBuilder, readPageIndex } from '../../../../src/ltx/page-index.ts';
import { memorySink, memorySource } from '../../../../src/ltx/sources.ts';
import { readPostChecksum } from '../../../../src/ltx/tail.ts';
import type { SeededRandom } from '../../random.ts';
import { type Grammar, PURE } from '../grammar.ts';
import { edge, mutate, noise, oddNumber } from '../mutate.ts';

/** Mostly small: it is the structure that is hostile. */
const PAGE_SIZES = [...Array<number>(16).fill(512), 1024, 1024, 4096, 4096, 65536];
const CHECKSUM = CHECKSUM_FLAG | 0x1234n;

/** One that makes sense, and follows that of `txid` - 1. */
export function plainHeader(random: SeededRandom, txid = 1 + random.below(5)): LtxHeader {
  return {
    flags: 0,
    pageSize: random.pick(PAGE_SIZES),
    commit: 1 + random.below(12),
    minTxid: txid,
    maxTxid: txid + random.below(3),
    timestampMs: 1_700_000_000_000 + random.below(1000),
    preChecksum: txid === 1 ? 0n : CHECKSUM,
    walOffset: 0,
    walSize: 0,
    walSalt1: 0,
    walSalt2: 0,
    nodeId: 1n,
    ...(random.below(4) === 0 ? { postAside: CHECKSUM } : {}),
  };
}

/** The offset and size of each number in a header. */
const FIELDS = [
  [0, 4],
  [4, 4],
  [8, 4],
  [12, 4],
  [12, 4],
  [12, 4],
  [16, 8],
  [24, 8],
  [32, 8],
  [40, 8],
  [48, 8],
  [56, 8],
  [64, 4],
  [72, 8],
  [80, 8],
  [88, 8],
  [96, 4],
] as const;

export function spoilHeader(random: SeededRandom, bytes: Buffer): void {
  const [at, size] = random.pick(FIELDS);
  const value = BigInt.asUintN(size * 8, edge(random));
  if (size === 4) bytes.writeUInt32BE(Number(value), at);
  else bytes.writeBigUInt64BE(value, at);
}

interface Block {
  readonly bytes: Buffer;
  /** What it is as a page; undefined: it is none. */
  readonly page: Buffer | undefined;
}

function block(random: SeededRandom, pageSize: number): Block {
  const page = Buffer.alloc(pageSize, random.below(256));
  noise(random, random.below(64)).copy(page, random.below(pageSize));
  let bytes: Buffer;
  if (random.below(2) === 0) bytes = Buffer.from(lz4Compress(page));
  else {
    bytes = Buffer.alloc(pageSize + Math.ceil(pageSize / 255) + 16);
    bytes = bytes.subarray(0, lz4Literals(page, bytes));
  }
  if (random.below(12) > 0) return { bytes, page };
  const spoiled = mutate(random, bytes);
  const made = Buffer.alloc(pageSize);
  return { bytes: spoiled, page: lz4Decompress(spoiled, made) ? made : undefined };
}

/** A frame as Litestream wrote it: an LZ4 frame around the block. */
function oldFrame({ bytes }: Block, random: SeededRandom): Buffer {
  const head = Buffer.from('04224d1860400000000000', 'hex');
  const size = Buffer.alloc(4);
  size.writeUInt32LE(bytes.length);
  const frame = Buffer.concat([head.subarray(0, 7), size, bytes, Buffer.alloc(4)]);
  return random.below(4) === 0 ? mutate(random, frame) : frame;
}

/** A whole file, with what a seed changes of it. `isSound`: nothing is. */
export function ltxFile(random: SeededRandom, header: LtxHeader, isSound: boolean): Buffer {
  const odds = (many: number) => !isSound && random.below(many) === 0;
  const head = encodeHeader(header);
  if (odds(3)) spoilHeader(random, head);
  const crc = new Crc64().update(head);
  const index = new PageIndexBuilder();
  const parts: Buffer[] = [head];
  let offset = head.length;
  let pgno = 0;
  const most = isSound ? header.commit : 12;
  const wanted = header.minTxid === 1 && header.preChecksum === 0n ? most : 1 + random.below(most);
  for (let i = 0; i < wanted; i++) {
    pgno += 1;
    if (odds(12)) pgno = oddNumber(random, 32);
    const isOld = odds(6);
    const { bytes, page } = isSound
      ? soundBlock(random, header.pageSize)
      : block(random, header.pageSize);
    const frame = Buffer.alloc(isOld ? 6 : 10);
    frame.writeUInt32BE(pgno >>> 0, 0);
    frame.writeUInt16BE(isOld ? 0 : 1, 4);
    if (odds(24)) frame.writeUInt16BE(oddNumber(random, 16), 4);
    if (!isOld) frame.writeUInt32BE(odds(24) ? oddNumber(random, 32) : bytes.length, 6);
    const body = isOld ? oldFrame({ bytes, page }, random) : bytes;
    crc.update(frame);
    if (page) crc.update(page);
    index.add(pgno, offset, frame.length + body.length);
    offset += frame.length + body.length;
    parts.push(frame, body);
  }
  const stop = Buffer.alloc(6);
  let table = index.finish();
  if (odds(8)) table = mutate(random, table);
  const trailer = Buffer.alloc(16);
  trailer.writeBigUInt64BE(header.postAside !== undefined || odds(8) ? 0n : CHECKSUM, 0);
  crc.update(stop).update(table).update(trailer.subarray(0, 8));
  trailer.writeBigUInt64BE(crc.digest() | CHECKSUM_FLAG, 8);
  const file = Buffer.concat([...parts, stop, table, trailer]);
  return odds(4) ? mutate(random, file) : file;
}

function soundBlock(random: SeededRandom, pageSize: number): Block {
  const page = Buffer.alloc(pageSize, random.below(256));
  return { bytes: Buffer.from(lz4Compress(page)), page };
}

function readWhole(bytes: Buffer): LtxHeader {
  const decoder = new LtxDecoder(memorySource(bytes));
  const { commit, pageSize } = decoder.header;
  let last = 0;
  for (let page = decoder.next(); page; page = decoder.next()) {
    assert(page.pgno > last && page.pgno <= commit && page.data.length === pageSize);
    last = page.pgno;
  }
  decoder.finish();
  return decoder.header;
}

export const ltx: Grammar = {
  name: 'ltx',
  reads: 'LTX files: header, pages, index, trailer, and merging two of them',
  codes: ['LTX_CORRUPT'],
  bounds: { ...PURE, perByte: 128 },
  isStateful: false,
  begin: () => ({
    make(random) {
      const first = plainHeader(random);
      const second = { ...plainHeader(random, first.maxTxid + 1), pageSize: first.pageSize };
      const isSound = random.below(8) === 0;
      const files = [ltxFile(random, first, isSound), ltxFile(random, second, isSound)];
      const [a, b] = files;
      return {
        bytes: a.length + b.length,
        take() {
          // Each is read before both are merged, as the callers do.
          let error: unknown;
          for (const file of files) {
            try {
              readPostChecksum(
                new LtxDecoder(memorySource(file)).header,
                file.length,
                (into, at) => {
                  file.copy(into, 0, at);
                },
              );
              for (const _ of readPageIndex(file.subarray(Math.max(0, file.length - 200))));
            } catch (thrown) {
              error ??= thrown;
            }
          }
          const headers = files.map(readWhole);
          if (canCompact(headers[0], headers[1])) {
            const sink = memorySink();
            for (const _ of compact(files.map(memorySource), sink, { compress: true }));
            readWhole(sink.bytes());
          }
          if (error !== undefined) throw error;
          return 'value';
        },
      };
    },
    end() {},
  }),
};
