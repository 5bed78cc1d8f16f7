/**
 * What real SQLite leaves beside a database: its files in the middle of things, for grammars to begin with. What SQLite draws at
 * random is put right, with the checksums over it: the same bytes in every run.
 */
import fs from 'node:fs';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { parseJournal } from '../../../src/sqlite/journal.ts';
import {
  JOURNAL_HEADER_BYTES,
  journalChecksum,
  parseJournalHeader,
} from '../../../src/sqlite/journal-format.ts';
import {
  encodeFrame,
  encodeWalHeader,
  frameOffset,
  parseWalHeader,
  readFrames,
  walCursorAtStart,
} from '../../../src/sqlite/wal.ts';
import { encodeWalIndexHeader, parseWalIndexHeader } from '../../../src/sqlite/wal-index.ts';

export interface SqliteFiles {
  readonly pageSize: number;
  readonly db: Buffer;
  readonly wal?: Buffer;
  readonly shm?: Buffer;
  readonly journal?: Buffer;
}

const SALT1 = 0x1badcafe;
const SALT2 = 0x0ddba11;
const NONCE = 0x600df00d;

/** In WAL mode, with commits in the -wal and some in the file. */
export function walDatabase(folder: string, pageSize: number): SqliteFiles {
  const file = path.join(folder, `wal-${pageSize}.db`);
  const db = new Sqlite(file);
  try {
    db.pragma(`page_size=${pageSize}`);
    db.pragma('journal_mode=WAL');
    db.pragma('wal_autocheckpoint=0');
    db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, data TEXT)');
    fill(db, 10);
    db.pragma('wal_checkpoint(PASSIVE)');
    for (let i = 0; i < 4; i++) fill(db, 3);
    const read = (suffix: string) => fs.readFileSync(file + suffix);
    const [wal, shm] = known(read('-wal'), read('-shm'));
    return { pageSize, db: read(''), wal, shm };
  } finally {
    db.close();
    remove(file);
  }
}

/** In the middle of a transaction whose cache has spilled, so that its journal counts. */
export function journalDatabase(
  folder: string,
  pageSize: number,
  synchronous: 'FULL' | 'OFF',
): SqliteFiles {
  const file = path.join(folder, `journal-${pageSize}.db`);
  const db = new Sqlite(file);
  try {
    db.pragma(`page_size=${pageSize}`);
    db.pragma(`synchronous=${synchronous}`);
    db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, data TEXT); CREATE TABLE u(data TEXT)');
    fill(db, 60);
    db.exec('DELETE FROM t WHERE id % 3 = 0');
    db.pragma('cache_size=2');
    db.exec('BEGIN IMMEDIATE');
    db.exec('DELETE FROM t WHERE id > 30');
    fill(db, 30);
    const journal = knownJournal(fs.readFileSync(`${file}-journal`));
    return { pageSize, db: fs.readFileSync(file), journal };
  } finally {
    db.close();
    remove(file);
  }
}

function fill(db: Sqlite.Database, rows: number): void {
  const insert = db.prepare('INSERT INTO t(data) VALUES(?)');
  db.transaction(() => {
    for (let i = 0; i < rows; i++) insert.run(`row ${i} `.repeat(12));
  })();
}

function remove(file: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) fs.rmSync(file + suffix, { force: true });
}

/** A -wal and its index with other salts. */
function known(wal: Buffer, shm: Buffer): [Buffer, Buffer] {
  const header = parseWalHeader(wal);
  if (!header) throw new Error('SQLite has left no -wal');
  const { pageSize } = header;
  const head = encodeWalHeader({ ...header, salt1: SALT1, salt2: SALT2 });
  const parsed = parseWalHeader(head);
  if (!parsed) throw new Error('our own header is none');
  const [cursor, copy] = [walCursorAtStart(header), walCursorAtStart(parsed)];
  const parts = [head];
  const start = frameOffset(1, pageSize);
  readFrames(cursor, wal.subarray(start), (_, pgno, commitPages, offset) => {
    const bytes = Buffer.alloc(pageSize + 24);
    const at = start + offset + 24;
    encodeFrame(copy, pgno, commitPages, wal.subarray(at, at + pageSize), bytes);
    parts.push(bytes);
  });
  const index = Buffer.from(shm);
  const old = parseWalIndexHeader(index).header;
  const { salt1, salt2, checksum1: frameChecksum1, checksum2: frameChecksum2 } = copy;
  const made = encodeWalIndexHeader({ ...old, salt1, salt2, frameChecksum1, frameChecksum2 });
  made.copy(index, 0);
  made.copy(index, made.length);
  return [Buffer.concat(parts), index];
}

/** The first segment of a journal with another nonce. */
function knownJournal(journal: Buffer): Buffer {
  const bytes = Buffer.from(journal);
  const header = parseJournalHeader(bytes.subarray(0, JOURNAL_HEADER_BYTES));
  if (!header) throw new Error('SQLite has left no journal');
  const { sectorSize, pageSize, originalPageCount, nonce } = header;
  let at = sectorSize;
  for (; at + pageSize + 8 <= bytes.length; at += pageSize + 8) {
    const pgno = bytes.readUInt32BE(at);
    if (pgno === 0 || pgno > originalPageCount) break;
    const sum = journalChecksum(nonce, bytes, at + 4, pageSize);
    if (sum !== bytes.readUInt32BE(at + 4 + pageSize)) break;
    bytes.writeUInt32BE((sum - nonce + NONCE) >>> 0, at + 4 + pageSize);
  }
  bytes.writeUInt32BE(NONCE, 12);
  const whole = bytes.subarray(0, at);
  const read = (offset: number, length: number) => whole.subarray(offset, offset + length);
  if (!parseJournal({ size: whole.length, read })?.pageNumbers.length) {
    throw new Error('our own journal is none');
  }
  return whole;
}
