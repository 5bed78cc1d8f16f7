import assert from 'node:assert';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import {
  DB_HEADER_BYTES,
  isDatabaseHeader,
  lockPageNumber,
  parseDbHeader,
} from '../../../src/sqlite/db-header.ts';
import { openDatabase, PAGE_SIZES, tmpFolder } from './fixtures.ts';

test('the header of databases that SQLite wrote, at every page size', (t) => {
  const folder = tmpFolder(t);
  for (const pageSize of PAGE_SIZES) {
    const file = path.join(folder, `${pageSize}.db`);
    const db = openDatabase(t, file, `page_size=${pageSize}`, 'auto_vacuum=incremental');
    db.exec('CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(200000)); DELETE FROM t');
    const bytes = fs.readFileSync(file);
    assert(isDatabaseHeader(bytes));
    const header = parseDbHeader(bytes.subarray(0, DB_HEADER_BYTES));
    assert(header);
    assert.equal(header.pageSize, pageSize);
    assert.equal(header.pageCount, db.pragma('page_count', { simple: true }));
    assert.equal(header.freelistPages, db.pragma('freelist_count', { simple: true }));
    assert.equal(header.schemaCookie, db.pragma('schema_version', { simple: true }));
    assert.equal(header.versionValidFor, header.changeCounter);
    assert.equal(header.writeVersion, 1);
    assert.equal(header.autoVacuum, true);
    db.pragma('journal_mode=wal');
    assert.equal(parseDbHeader(fs.readFileSync(file))?.writeVersion, 2);
  }
});

test('what is no database has no header', () => {
  const good = Buffer.alloc(DB_HEADER_BYTES);
  good.write('SQLite format 3\0', 'latin1');
  good.writeUInt16BE(4096, 16);
  assert.equal(parseDbHeader(good)?.pageSize, 4096);
  assert.equal(parseDbHeader(good.subarray(0, 99)), undefined);
  assert.equal(isDatabaseHeader(good.subarray(0, 15)), false);
  for (const pageSize of [0, 2, 256, 511, 1000, 4097, 65535]) {
    const bad = Buffer.from(good);
    bad.writeUInt16BE(pageSize, 16);
    assert.equal(parseDbHeader(bad), undefined, `page size ${pageSize}`);
  }
  const bad = Buffer.from(good);
  bad[3] ^= 1;
  assert.equal(parseDbHeader(bad), undefined);
});

test('SQLite leaves out the lock page of a database over 1 GiB', (t) => {
  const pageSize = 65536;
  const file = path.join(tmpFolder(t), 'big.db');
  const db = openDatabase(t, file, `page_size=${pageSize}`, 'journal_mode=off', 'synchronous=off');
  db.exec('CREATE TABLE t(x)');
  // Grown by hand: a header that counts as many pages as the file has, none of them ever read.
  const header = Buffer.alloc(4);
  const count = lockPageNumber(pageSize) - 1;
  header.writeUInt32BE(count);
  const fd = fs.openSync(file, 'r+');
  try {
    fs.writeSync(fd, header, 0, 4, 28);
    fs.ftruncateSync(fd, count * pageSize);
    fs.writeSync(fd, Buffer.from([0, 0, 0, 99]), 0, 4, 24);
    fs.writeSync(fd, Buffer.from([0, 0, 0, 99]), 0, 4, 92);
  } finally {
    fs.closeSync(fd);
  }
  db.exec('INSERT INTO t VALUES (zeroblob(200000))');
  const pages = db
    .prepare('SELECT pageno FROM dbstat WHERE name = ? AND pageno > 2 ORDER BY pageno')
    .pluck()
    .all('t') as number[];
  assert.equal(lockPageNumber(pageSize), 16385);
  assert.equal(pages[0], lockPageNumber(pageSize) + 1);
  assert.equal(lockPageNumber(512), 2097153);
  assert.equal(lockPageNumber(4096), 262145);
});
