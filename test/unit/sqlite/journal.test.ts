import assert from 'node:assert';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { type Journal, parseJournal } from '../../../src/sqlite/journal.ts';
import { changedPages, journalFile, openDatabase, PAGE_SIZES, tmpFolder } from './fixtures.ts';

const MAGIC = Buffer.from('d9d505f920a163d7', 'hex');

interface Captured {
  readonly bytes: Buffer;
  readonly journal: Journal;
  readonly before: Buffer;
  readonly after: Buffer;
}

/**
 * Runs statements as one transaction, copies the journal at the moment of the commit, when all of it is
 * written and the database as well, and gives the database before and after.
 */
function capture(t: TestContext, db: Sqlite.Database, statements: string): Captured {
  const before = fs.readFileSync(db.name);
  const pageSize = db.pragma('page_size', { simple: true }) as number;
  db.exec('BEGIN IMMEDIATE');
  db.exec(statements);
  // A reader in the way of the commit: the journal and its header are complete, the database is not.
  const reader = new Sqlite(db.name, { timeout: 0 });
  t.after(() => reader.close());
  db.pragma('busy_timeout=0');
  const pages = reader.prepare('SELECT 1 FROM sqlite_schema').iterate();
  pages.next();
  let bytes = readJournal(db);
  assert.throws(() => db.exec('COMMIT'), { code: 'SQLITE_BUSY' });
  bytes = readJournal(db);
  pages.return?.();
  db.exec('COMMIT');
  const after = fs.readFileSync(db.name);
  const journal = parseJournal(journalFile(bytes), (pgno) =>
    after.subarray((pgno - 1) * pageSize, pgno * pageSize),
  );
  assert(journal);
  return { bytes, journal, before, after };
}
