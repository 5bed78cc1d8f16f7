import assert from 'node:assert';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { addToWalChecksum } from '../../../src/sqlite/wal-checksum.ts';
import {
  appendToIndex,
  buildIndex,
  encodeWalIndexHeader,
  lookupFrame,
  parseWalIndexHeader,
  readMarkOffset,
  WAL_INDEX_HEADER_BYTES,
  WalIndexWriter,
} from '../../../src/sqlite/wal-index.ts';
import { MemoryShm, openDatabase, PAGE_SIZES, tmpFolder, walFrames } from './fixtures.ts';

const REGION_BYTES = 32768;
const HEADER = Buffer.alloc(WAL_INDEX_HEADER_BYTES);

test('the header is encoded as SQLite does it, at every page size', (t) => {
  const folder = tmpFolder(t);
  for (const pageSize of PAGE_SIZES) {
    const file = path.join(folder, `${pageSize}.db`);
    const db = openDatabase(t, file, `page_size=${pageSize}`, 'journal_mode=wal');
    db.exec('CREATE TABLE t(x); INSERT INTO t VALUES (1)');
    const shm = fs.readFileSync(`${file}-shm`);
    const { header } = parseWalIndexHeader(shm);
    assert(encodeWalIndexHeader(header).equals(shm.subarray(0, 48)), `page size ${pageSize}`);
  }
});

test('a header is consistent only with two equal copies, the checksum and the init mark', (t) => {
  const file = path.join(tmpFolder(t), 'x.db');
  const db = openDatabase(t, file, 'journal_mode=wal');
  db.exec('CREATE TABLE t(x)');
  const shm = fs.readFileSync(`${file}-shm`).subarray(0, WAL_INDEX_HEADER_BYTES);
  assert(parseWalIndexHeader(shm).consistent);
  for (let at = 0; at < 96; at++) {
    const torn = Buffer.from(shm);
    torn[at] ^= 0x10;
    assert.equal(parseWalIndexHeader(torn).consistent, false, `one copy, byte ${at}`);
    if (at >= 48) continue;
    torn[at + 48] ^= 0x10;
    assert.equal(parseWalIndexHeader(torn).consistent, false, `both copies, byte ${at}`);
  }
  assert.equal(parseWalIndexHeader(HEADER).consistent, false);
});

test('a header whose page size is none is not consistent, though its checksum is right', () => {
  const header = { ...parseWalIndexHeader(HEADER).header, version: 3007000, isInit: true };
  const made = (stored: number) => {
    const copy = encodeWalIndexHeader({ ...header, pageSize: 4096 });
    copy.writeUInt16LE(stored, 14);
    const sum = { checksum1: 0, checksum2: 0 };
    addToWalChecksum(sum, new DataView(copy.buffer, copy.byteOffset, 48), 0, 40, false);
    copy.writeUInt32LE(sum.checksum1, 40);
    copy.writeUInt32LE(sum.checksum2, 44);
    return parseWalIndexHeader(Buffer.concat([copy, copy, Buffer.alloc(40)]));
  };
  for (const stored of [0, 1, 512, 4096, 32768]) assert(made(stored).consistent, `${stored}`);
  for (const stored of [2, 3, 256, 513, 4095, 65535]) assert(!made(stored).consistent, `${stored}`);
});

test('the checkpoint fields are where SQLite has them', (t) => {
  const file = path.join(tmpFolder(t), 'x.db');
  const db = openDatabase(t, file, 'journal_mode=wal');
  db.exec('CREATE TABLE t(x); INSERT INTO t VALUES (1)');
  db.pragma('wal_checkpoint(passive)');
  const bytes = fs.readFileSync(`${file}-shm`);
  const { header, checkpoint } = parseWalIndexHeader(bytes);
  assert.equal(checkpoint.backfill, header.mxFrame);
  assert.equal(checkpoint.backfillAttempted, header.mxFrame);
  assert.equal(checkpoint.readMarks.length, 5);
  assert.equal(checkpoint.readMarks[4], bytes.readUInt32LE(readMarkOffset(4)));
  assert.equal(checkpoint.readMarks[4], 0xffffffff);
});

test('the hash tables are, byte for byte, those that SQLite made', (t) => {
  const file = path.join(tmpFolder(t), 'x.db');
  const db = openDatabase(t, file, 'page_size=512', 'journal_mode=wal', 'wal_autocheckpoint=0');
  db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, x)');
  const insert = db.prepare('INSERT INTO t(x) VALUES (randomblob(300))');
  const update = db.prepare('UPDATE t SET x = randomblob(300) WHERE id % 7 = ?');
  const shmFile = `${file}-shm`;
  db.transaction(() => {
    for (let i = 0; i < 2000; i++) insert.run();
  })();
  for (let round = 0; round < 30; round++) {
    update.run(round % 7);
    const { frames } = walFrames(fs.readFileSync(`${file}-wal`));
    if (round % 5 !== 0 && round !== 29) continue;
    const pgnos = frames.map((frame) => frame.pgno);
    const index = Buffer.concat([HEADER, buildIndex(pgnos)]);
    const stored = fs.readFileSync(shmFile);
    assert.equal(stored.length, index.length);
    assert(stored.subarray(WAL_INDEX_HEADER_BYTES).equals(index.subarray(WAL_INDEX_HEADER_BYTES)));
  }
  const { frames } = walFrames(fs.readFileSync(`${file}-wal`));
  assert(frames.length > 4062 + 4096, 'three regions');
  const shm = new MemoryShm(fs.readFileSync(shmFile));
  for (const limit of [1, 2000, 4062, 4063, 8158, 8159, frames.length]) {
    const last = new Map(frames.slice(0, limit).map(({ pgno, frame }) => [pgno, frame]));
    for (let pgno = 1; pgno < 2500; pgno += 13) {
      assert.equal(lookupFrame(shm, pgno, limit), last.get(pgno) ?? 0);
    }
  }
});

test('appends, abandoned transactions and restarts leave the table SQLite would have', () => {
  const step = fc.record({
    /** Frames that another writer adds and never commits. */
    abandoned: fc.oneof(fc.constant(0), fc.nat(300)),
    restart: fc.integer({ min: 0, max: 20 }).map((n) => n === 0),
    forget: fc.boolean(),
    count: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 5000 })),
    seed: fc.integer({ min: 1, max: 0xffffff }),
    pages: fc.integer({ min: 1, max: 20000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const shm = new MemoryShm();
      const writer = new WalIndexWriter(shm);
      let committed: number[] = [];
      for (const { abandoned, restart, forget, count, seed, pages } of steps) {
        if (restart) committed = [];
        const junk = Array.from({ length: abandoned }, (_, i) => ((seed + i) % pages) + 1);
        appendToIndex(shm, committed.length + 1, junk);
        if (restart || forget) writer.forget();
        const pgnos = Array.from({ length: count }, (_, i) => ((seed * (i + 3)) % pages) + 1);
        writer.append(committed.length + 1, pgnos);
        committed = committed.concat(pgnos);

        const index = buildIndex(committed);
        const end = WAL_INDEX_HEADER_BYTES + index.length;
        assert(shm.bytes.subarray(WAL_INDEX_HEADER_BYTES, end).equals(index));
      }
      const last = new Map(committed.map((pgno, i) => [pgno, i + 1]));
      for (const [pgno, frame] of last) {
        if (pgno % 50 === 1) assert.equal(lookupFrame(shm, pgno, committed.length), frame);
      }
      assert.equal(lookupFrame(shm, 20001, committed.length), 0);
    }),
    { numRuns: 60 },
  );
});

test('a small append reads 4 bytes and writes a handful of ranges', () => {
  const shm = new MemoryShm(Buffer.alloc(REGION_BYTES));
  const writer = new WalIndexWriter(shm);
  writer.append(1, [1, 2, 3]);
  shm.reads = shm.readBytes = shm.writes = 0;
  writer.append(4, [1, 2, 5000]);
  assert.equal(shm.reads, 1);
  assert.equal(shm.readBytes, 4);
  assert(shm.writes <= 4, `${shm.writes} writes`);
});

test('an append behind frames of another writer starts from what is in the file', () => {
  const shm = new MemoryShm();
  const writer = new WalIndexWriter(shm);
  writer.append(1, [1, 2, 3]);
  appendToIndex(shm, 4, [4, 8193, 16385]);
  writer.append(7, [1, 8193]);
  const index = buildIndex([1, 2, 3, 4, 8193, 16385, 1, 8193]);
  assert(shm.bytes.subarray(WAL_INDEX_HEADER_BYTES).equals(index));
});

test('an index that lacks committed frames is named as corrupt', () => {
  const shm = new MemoryShm(Buffer.alloc(REGION_BYTES));
  assert.throws(() => appendToIndex(shm, 10, [1]), { code: 'DATABASE_CORRUPT' });
});
