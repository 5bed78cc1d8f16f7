/**
 * Litestream 0.5's files and ours, byte by byte. Written from its source (v0.5.16 of benbjohnson/litestream, v0.5.0 to v0.5.2 of
 * superfly/ltx), not by it: what its restore asks of a file is asked here of ours, and files as it writes them are made by hand.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../../../src/kernels/checksum.ts';
import { LtxDecoder } from '../../../src/ltx/decoder.ts';
import { memorySource } from '../../../src/ltx/sources.ts';
import { Archive } from '../../../src/snapshots/archive.ts';
import { restorePoints } from '../../../src/snapshots/plan.ts';
import { restore } from '../../../src/snapshots/restore.ts';
import { snapshotTasks } from '../../../src/snapshots/tasks.ts';

const PAGE_BYTES = 512;
const BEGAN_MS = Date.parse('2026-11-24T10:00:00.123Z');

/** A page of one letter. */
const page = (letter: string) => Buffer.alloc(PAGE_BYTES, letter);

/** As `lz4 -1 -B4` (Debian, 1.9.4) wrote it for a page of A: header, one block, end, xxh32 of the content. */
const FRAME_OF_A = '04224d186440a70c0000001f410100ffe85041414141410000000095f53d4c';
const FRAME_HEAD = FRAME_OF_A.slice(0, 14);

/** A letter in LZ4: a literal, its copies, five literals at the end. */
const blockOf = (letter: string) =>
  Buffer.from(`1f${'xx'}0100ffe850${'xx'.repeat(5)}`.replaceAll('xx', hex(letter)), 'hex');

function hex(letter: string): string {
  return Buffer.from(letter).toString('hex');
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
}

/** CRC-64/GO-ISO, a bit at a time. */
function crc64(bytes: Buffer): bigint {
  let crc = 0xffffffffffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc >> 1n) ^ ((crc & 1n) === 0n ? 0n : 0xd800000000000000n);
    }
  }
  return crc ^ 0xffffffffffffffffn;
}

type Packing = 'block' | 'frame' | 'raw frame';

/** A page's frame in the file, and what of it the file's checksum covers besides the page. */
function packed(pgno: number, letter: string, packing: Packing): { frame: Buffer; head: Buffer } {
  const flags = packing === 'block' ? '0001' : '0000';
  const head = Buffer.concat([u32(pgno), Buffer.from(flags, 'hex')]);
  if (packing === 'block') {
    const sized = Buffer.concat([head, u32(blockOf(letter).length)]);
    return { frame: Buffer.concat([sized, blockOf(letter)]), head: sized };
  }
  if (packing === 'frame') {
    const frame = FRAME_OF_A.replaceAll('41', hex(letter));
    return { frame: Buffer.concat([head, Buffer.from(frame, 'hex')]), head };
  }
  const size = Buffer.alloc(4);
  size.writeUInt32LE(PAGE_BYTES + 0x80000000);
  const end = Buffer.from('00000000ffffffff', 'hex');
  return {
    frame: Buffer.concat([head, Buffer.from(FRAME_HEAD, 'hex'), size, page(letter), end]),
    head,
  };
}

interface FileSpec {
  readonly level: number;
  readonly txids: readonly [number, number];
  readonly commit: number;
  readonly pages: readonly (readonly [number, string])[];
  readonly packing: Packing;
}

/** A file as Litestream writes it: no checksums of the database, flag bit 1. */
function litestreamFile({ txids, commit, pages, packing }: FileSpec): Buffer {
  const head = Buffer.concat([
    Buffer.from('LTX1'),
    ...[2, PAGE_BYTES, commit].map(u32),
    ...[...txids, BEGAN_MS + txids[1]].map((value) => u64(BigInt(value))),
    u64(0n),
    u64(32n),
    u64(BigInt((PAGE_BYTES + 24) * pages.length)),
    u32(0x11111111),
    u32(0x22222222),
    u64(0n),
    Buffer.alloc(20),
  ]);
  const parts: Buffer[] = [head];
  const covered: Buffer[] = [head];
  const index: number[] = [];
  let offset = head.length;
  for (const [pgno, letter] of pages) {
    const { frame, head: own } = packed(pgno, letter, packing);
    parts.push(frame);
    covered.push(own, page(letter));
    index.push(...varint(pgno), ...varint(offset), ...varint(frame.length));
    offset += frame.length;
  }
  index.push(0);
  const tail = [Buffer.alloc(6), Buffer.from(index), u64(BigInt(index.length)), u64(0n)];
  const checksum = crc64(Buffer.concat([...covered, ...tail])) | CHECKSUM_FLAG;
  return Buffer.concat([...parts, ...tail, u64(checksum)]);
}

const txidText = (txid: number) => txid.toString(16).padStart(16, '0');

describe('with Litestream 0.5', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  function writeReplica(root: string, files: readonly FileSpec[]): Archive {
    for (const file of files) {
      const level = path.join(root, 'ltx', `${file.level}`);
      fs.mkdirSync(level, { recursive: true });
      const [min, max] = file.txids.map(txidText);
      fs.writeFileSync(path.join(level, `${min}-${max}.ltx`), litestreamFile(file));
    }
    return new Archive(root);
  }

  const restored = (archive: Archive, txid: number): string => {
    const output = path.join(folder, 'output');
    restore(archive, { kind: 'txid', txid }, output, { check: 'quick', force: true });
    const bytes = fs.readFileSync(output);
    let letters = '';
    for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
      assert(bytes.subarray(at, at + PAGE_BYTES).every((byte) => byte === bytes[at]));
      letters += String.fromCharCode(bytes[at]);
    }
    return letters;
  };

  for (const packing of ['block', 'frame', 'raw frame'] as const) {
    it(`restores a replica of its, with pages packed as ${packing}`, () => {
      const root = path.join(folder, packing);
      // Its first file of level 0 holds the whole database; it has levels up to 8, and may remove the lowest.
      const archive = writeReplica(root, [
        {
          level: 0,
          txids: [1, 1],
          commit: 2,
          pages: [
            [1, 'B'],
            [2, 'C'],
          ],
          packing,
        },
        {
          level: 0,
          txids: [2, 2],
          commit: 3,
          pages: [
            [2, 'D'],
            [3, 'E'],
          ],
          packing,
        },
        { level: 0, txids: [3, 3], commit: 3, pages: [[1, 'F']], packing },
        {
          level: 1,
          txids: [2, 3],
          commit: 3,
          pages: [
            [1, 'F'],
            [2, 'D'],
            [3, 'E'],
          ],
          packing,
        },
        {
          level: 9,
          txids: [1, 3],
          commit: 3,
          pages: [
            [1, 'F'],
            [2, 'D'],
            [3, 'E'],
          ],
          packing,
        },
        { level: 4, txids: [4, 9], commit: 2, pages: [[2, 'G']], packing },
      ]);
      const points = restorePoints(archive.list());
      assert.deepEqual(
        points.map(({ txid, timestampMs }) => [txid, timestampMs - BEGAN_MS]),
        [1, 2, 3, 9].map((txid) => [txid, txid]),
      );
      assert.deepEqual(
        points.map(({ txid }) => restored(archive, txid)),
        ['BC', 'BDE', 'FDE', 'FG'],
      );
      fs.rmSync(path.join(root, 'ltx/9'), { recursive: true });
      fs.rmSync(path.join(root, 'ltx/0', `${txidText(2)}-${txidText(2)}.ltx`));
      assert.equal(restored(archive, 9), 'FG');
    });

    it(`finds a flipped bit in a file packed as ${packing}, or has the same page`, () => {
      const bytes = litestreamFile({
        level: 0,
        txids: [1, 1],
        commit: 1,
        pages: [[1, 'B']],
        packing,
      });
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const damaged = Buffer.from(bytes);
        damaged[bit >> 3] ^= 1 << (bit & 7);
        try {
          const decoder = new LtxDecoder(memorySource(damaged));
          const found = Buffer.from(decoder.next()?.data ?? []);
          decoder.finish();
          assert(found.equals(page('B')), `bit ${bit}`);
        } catch (error) {
          assert(error instanceof LiteFsError, `bit ${bit}: ${error}`);
        }
      }
    });
  }

  it('can read what we write', () => {
    const root = path.join(folder, 'ours');
    const tasks = snapshotTasks();
    const sum = (letters: string) =>
      [...letters].reduce((xor, letter, at) => xor ^ pageChecksum(at + 1, page(letter)), 0n) |
      CHECKSUM_FLAG;
    const snapshot = tasks.begin({
      archive: root,
      base: {
        position: { txid: 7, checksum: sum('AB') },
        pageSize: PAGE_BYTES,
        pageCount: 2,
        timestampMs: BEGAN_MS,
        compress: true,
      },
    });
    tasks.pages({ snapshot, records: Buffer.concat([u32(1), page('A'), u32(2), page('B')]) });
    const end = { txid: 7, checksum: sum('AB') };
    tasks.finish({ snapshot, entries: [], end, check: 'quick', scratchDir: folder, nowMs: 0 });
    // The log's own files have checksums: what a merge of two of these has is aside.
    const log = [8, 9].map((txid) => {
      const letters = txid === 8 ? 'AC' : 'DC';
      const [pgno, letter] = txid === 8 ? ([2, 'C'] as const) : ([1, 'D'] as const);
      const bytes = litestreamFile({
        level: 0,
        txids: [txid, txid],
        commit: 2,
        pages: [[pgno, letter]],
        packing: 'block',
      });
      bytes.writeUInt32BE(0, 4);
      bytes.writeBigUInt64BE(sum(txid === 8 ? 'AB' : 'AC'), 40);
      bytes.writeBigUInt64BE(sum(letters), bytes.length - 16);
      const frameAt = 100 + 10 + blockOf('A').length;
      const covered = [bytes.subarray(0, 110), page(letter), bytes.subarray(frameAt, -8)];
      bytes.writeBigUInt64BE(crc64(Buffer.concat(covered)) | CHECKSUM_FLAG, bytes.length - 8);
      return { bytes };
    });
    tasks.increment({ archive: root, entries: log, compress: false });
    const archive = new Archive(root);
    const files = archive.list();
    assert.deepEqual(
      files.map((file) => path.relative(root, archive.pathOf(file))),
      [`ltx/9/${txidText(1)}-${txidText(7)}.ltx`, `ltx/0/${txidText(8)}-${txidText(9)}.ltx`],
    );
    for (const file of files) {
      const bytes = fs.readFileSync(archive.pathOf(file));
      assert.equal(bytes.readUInt32BE(4), 2, 'no checksums: its compactor refuses a file with one');
      assert.equal(bytes.readBigUInt64BE(40), 0n, 'pre-apply checksum');
      assert.equal(bytes.readBigUInt64BE(bytes.length - 16), 0n, 'post-apply checksum');
      assert.deepEqual([...bytes.subarray(48, 72)], Array(24).fill(0), 'no part of a -wal');
      // It takes the time of a file for that of its last transaction.
      const mtimeMs = fs.statSync(archive.pathOf(file)).mtimeMs;
      assert.equal(Math.round(mtimeMs), file.timestampMs);
    }
    // For us they have them.
    assert.deepEqual(archive.open().position, { txid: 9, checksum: sum('DC') });
    assert.equal(restored(archive, 9), 'DC');
    const newest = archive.pathOf(files[1]);
    const wrong = fs.readFileSync(newest);
    const other = Buffer.from(wrong);
    other.writeBigUInt64BE(sum('DD'), 88);
    const pages = ['D', 'C'].map((letter, index) => {
      const at = 100 + index * (10 + 3 + PAGE_BYTES);
      return [other.subarray(at, at + 10), page(letter)];
    });
    const endOfPages = 100 + 2 * (10 + 3 + PAGE_BYTES);
    const covered = [other.subarray(0, 100), ...pages.flat(), other.subarray(endOfPages, -8)];
    other.writeBigUInt64BE(crc64(Buffer.concat(covered)) | CHECKSUM_FLAG, other.length - 8);
    fs.writeFileSync(newest, other);
    assert.throws(() => restored(archive, 9), /do not make the database whose checksum it has/);
  });
});
