import assert from 'node:assert';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  encodeFrame,
  encodeWalHeader,
  frameOffset,
  parseWalHeader,
  readFrames,
  WAL_FRAME_HEADER_BYTES,
  walCursorAtStart,
} from '../../../src/sqlite/wal.ts';
import { addToWalChecksum } from '../../../src/sqlite/wal-checksum.ts';
import { parseWalIndexHeader } from '../../../src/sqlite/wal-index.ts';
import { type Frame, openDatabase, PAGE_SIZES, tmpFolder, walFrames } from './fixtures.ts';

const u32 = fc.integer({ min: 0, max: 0xffffffff });

/** A whole -wal from frames. */
function encodeWal(options: { bigEndian: boolean; pageSize: number }, frames: readonly Frame[]) {
  const bytes = encodeWalHeader({ ...options, checkpointSequence: 7, salt1: 0xfedcba98, salt2: 5 });
  const header = parseWalHeader(bytes);
  assert(header);
  const cursor = walCursorAtStart(header);
  const parts = [bytes];
  for (const { pgno, commitPages, data } of frames) {
    const frame = Buffer.alloc(options.pageSize + WAL_FRAME_HEADER_BYTES);
    encodeFrame(cursor, pgno, commitPages, data, frame);
    parts.push(frame);
  }
  return { bytes: Buffer.concat(parts), cursor };
}

test('every frame of a -wal that SQLite wrote is read, and agrees with the wal-index', (t) => {
  const folder = tmpFolder(t);
  for (const pageSize of PAGE_SIZES) {
    const file = path.join(folder, `${pageSize}.db`);
    const db = openDatabase(t, file, `page_size=${pageSize}`, 'journal_mode=wal');
    db.pragma('wal_autocheckpoint=0');
    db.exec('CREATE TABLE t(x)');
    for (let i = 0; i < 5; i++)
      db.prepare('INSERT INTO t VALUES (randomblob(?))').run(pageSize * i);
    const wal = fs.readFileSync(`${file}-wal`);
    const { header, cursor, frames } = walFrames(wal);
    const index = parseWalIndexHeader(fs.readFileSync(`${file}-shm`));
    assert(index.consistent);
    assert.deepEqual(
      {
        version: index.header.version,
        pageSize: index.header.pageSize,
        bigEndian: index.header.bigEndian,
        mxFrame: index.header.mxFrame,
        pageCount: index.header.pageCount,
        frameChecksum1: index.header.frameChecksum1,
        frameChecksum2: index.header.frameChecksum2,
        salt1: index.header.salt1,
        salt2: index.header.salt2,
      },
      {
        version: 3007000,
        pageSize,
        bigEndian: false,
        mxFrame: frames.length,
        pageCount: db.pragma('page_count', { simple: true }),
        frameChecksum1: cursor.checksum1,
        frameChecksum2: cursor.checksum2,
        salt1: header.salt1,
        salt2: header.salt2,
      },
    );
    assert.equal(header.pageSize, pageSize);
    assert.equal(wal.length, frameOffset(frames.length + 1, pageSize));
    assert.equal(frames.filter((frame) => frame.commitPages > 0).length, 6);
    assert.equal(index.checkpoint.backfill, 0);
  }
});

test('SQLite recovers a -wal encoded anew, in either byte order', (t) => {
  const folder = tmpFolder(t);
  for (const pageSize of [512, 4096, 65536]) {
    for (const bigEndian of [false, true]) {
      const from = path.join(folder, `from-${pageSize}-${bigEndian}.db`);
      const db = openDatabase(t, from, `page_size=${pageSize}`, 'journal_mode=wal');
      db.exec("CREATE TABLE t(x); INSERT INTO t VALUES ('one')");
      db.exec("INSERT INTO t VALUES (randomblob(100000)); INSERT INTO t VALUES ('three')");
      const { frames } = walFrames(fs.readFileSync(`${from}-wal`));
      const to = path.join(folder, `to-${pageSize}-${bigEndian}.db`);
      fs.copyFileSync(from, to);
      fs.writeFileSync(`${to}-wal`, encodeWal({ bigEndian, pageSize }, frames).bytes);
      const copy = openDatabase(t, to);
      const all = 'SELECT x FROM t ORDER BY rowid';
      assert.deepEqual(copy.prepare(all).pluck().all(), db.prepare(all).pluck().all());
      const index = parseWalIndexHeader(fs.readFileSync(`${to}-shm`));
      assert.equal(index.header.bigEndian, bigEndian);
      assert.equal(index.header.mxFrame, frames.length);
      const { cursor } = walFrames(fs.readFileSync(`${to}-wal`));
      assert.equal(index.header.frameChecksum1, cursor.checksum1);
      assert.equal(index.header.frameChecksum2, cursor.checksum2);
    }
  }
});

const framesOf512 = fc.array(
  fc.record({
    pgno: fc.integer({ min: 1, max: 0xffffffff }),
    commitPages: u32,
    data: fc.uint8Array({ minLength: 512, maxLength: 512 }),
  }),
  { minLength: 1, maxLength: 6 },
);

test('what was encoded is read again, in pieces as well; a flipped bit ends the log there', () => {
  fc.assert(
    fc.property(framesOf512, fc.boolean(), fc.nat(), fc.nat(), (values, bigEndian, split, flip) => {
      const pageSize = 512;
      const frames = values.map((value, i) => ({
        ...value,
        frame: i + 1,
        data: Buffer.from(value.data),
      }));
      const { bytes, cursor } = encodeWal({ bigEndian, pageSize }, frames);
      const whole = walFrames(bytes);
      assert.deepEqual(whole.frames, frames);
      assert.deepEqual(whole.cursor, cursor);

      const pieces = walCursorAtStart(whole.header);
      const body = bytes.subarray(32);
      const cut = split % (body.length + 1);
      const read: number[] = [];
      const first = readFrames(pieces, body.subarray(0, cut), (frame) => read.push(frame));
      assert.equal(first, Math.floor(cut / (pageSize + WAL_FRAME_HEADER_BYTES)));
      const rest = body.subarray(first * (pageSize + WAL_FRAME_HEADER_BYTES));
      readFrames(pieces, rest, (frame) => read.push(frame));
      assert.deepEqual(
        read,
        frames.map(({ frame }) => frame),
      );
      assert.deepEqual(pieces, cursor);

      // Salts, page number, commit field, checksum and page: each bit of a frame matters.
      const bit = flip % (body.length * 8);
      const broken = Buffer.from(bytes);
      broken[32 + (bit >> 3)] ^= 1 << (bit & 7);
      const valid = Math.floor((bit >> 3) / (pageSize + WAL_FRAME_HEADER_BYTES));
      const read2 = walFrames(broken);
      assert.equal(read2.frames.length, valid);
      assert.equal(read2.cursor.frame, valid);
      assert.deepEqual(
        walFrames(bytes.subarray(0, frameOffset(valid + 1, 512))).cursor,
        read2.cursor,
      );
    }),
  );
});

test('a damaged WAL header is none', () => {
  const good = encodeWalHeader({
    bigEndian: true,
    pageSize: 65536,
    checkpointSequence: 1,
    salt1: 2,
    salt2: 0xffffffff,
  });
  assert.equal(parseWalHeader(good)?.pageSize, 65536);
  assert.equal(parseWalHeader(good.subarray(0, 31)), undefined);
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bad = Buffer.from(good);
    bad[bit >> 3] ^= 1 << (bit & 7);
    assert.equal(parseWalHeader(bad), undefined, `bit ${bit}`);
  }
});

test('page 0 is no frame', () => {
  const bytes = encodeWalHeader({
    bigEndian: false,
    pageSize: 512,
    checkpointSequence: 0,
    salt1: 0,
    salt2: 0,
  });
  const header = parseWalHeader(bytes);
  assert(header);
  const sum = { checksum1: header.checksum1, checksum2: header.checksum2 };
  const frame = Buffer.alloc(512 + WAL_FRAME_HEADER_BYTES);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  addToWalChecksum(sum, view, 0, 8, false);
  addToWalChecksum(sum, view, WAL_FRAME_HEADER_BYTES, 512, false);
  view.setUint32(16, sum.checksum1);
  view.setUint32(20, sum.checksum2);
  const cursor = walCursorAtStart(header);
  assert.equal(
    readFrames(cursor, frame, () => assert.fail()),
    0,
  );
  view.setUint32(0, 1);
  assert.equal(
    readFrames(cursor, frame, () => assert.fail()),
    0,
  );
});

test('the checksum equals its definition at any alignment', () => {
  const definition = (bytes: Buffer, bigEndian: boolean) => {
    let [s1, s2] = [0n, 0n];
    for (let i = 0; i < bytes.length; i += 8) {
      const word = (at: number) =>
        BigInt(bigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at));
      s1 = BigInt.asUintN(32, s1 + word(i) + s2);
      s2 = BigInt.asUintN(32, s2 + word(i + 4) + s1);
    }
    return { checksum1: Number(s1), checksum2: Number(s2) };
  };
  const bytes = fc.uint8Array({ minLength: 0, maxLength: 400 });
  fc.assert(
    fc.property(bytes, fc.boolean(), fc.nat(7), (data, bigEndian, shift) => {
      const length = data.length & ~7;
      const memory = Buffer.concat([Buffer.alloc(shift), data]);
      const view = new DataView(memory.buffer, memory.byteOffset, memory.length);
      const sum = { checksum1: 0, checksum2: 0 };
      addToWalChecksum(sum, view, shift, length, bigEndian);
      assert.deepEqual(sum, definition(Buffer.from(data.subarray(0, length)), bigEndian));
    }),
  );
});
