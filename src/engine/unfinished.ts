/**
 * A transaction of another node, under its halt lock, that a primary writes into a database file. There is no journal, and
 * the next start of a primary takes what is in the file for what was committed. So a note is made of it beforehand, and
 * what the note names is written once more from the log, should the node end in the middle.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import { LtxDecoder } from '../ltx/decoder.ts';
import { fileSource } from '../ltx/sources.ts';
import { type StoredEntry, syncDirectory } from '../store/log-files.ts';
import type { Database } from './database.ts';

/** Before the entry is put into the log. */
export function noteUnfinished(db: Database, txid: number): void {
  fs.writeFileSync(db.unfinishedFile, `${txid}\n`, { mode: 0o600, flush: true });
  syncDirectory(path.dirname(db.unfinishedFile));
}

/** The file has all of it, or nothing. What is written from now on must not be written over should the note come back. */
export function forgetUnfinished(db: Database): void {
  db.files.sync('db');
  fs.rmSync(db.unfinishedFile, { force: true });
  syncDirectory(path.dirname(db.unfinishedFile));
}

/**
 * Before anybody opens the file. What the log does not have was not begun. Throws DATABASE_CORRUPT when the half of it is in
 * the file, and the log cannot be read.
 */
export function finishUnfinished(db: Database): void {
  let txid: number;
  try {
    txid = Number(fs.readFileSync(db.unfinishedFile, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const { last } = db.log;
  // Behind it comes only what was committed when the file had all of it.
  if (last?.maxTxid === txid && db.files.exists('db')) writeAgain(db, last);
  forgetUnfinished(db);
}

function writeAgain(db: Database, entry: StoredEntry): void {
  const fd = fs.openSync(entry.path, 'r');
  try {
    const decoder = new LtxDecoder(fileSource(fd, entry.offset, entry.length));
    const { pageSize, commit } = decoder.header;
    for (let page = decoder.next(); page; page = decoder.next()) {
      db.files.write('db', page.data, (page.pgno - 1) * pageSize);
    }
    db.files.truncate('db', commit * pageSize);
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
    throw new LiteFsError(
      'DATABASE_CORRUPT',
      `${db.name} holds a part of transaction ${entry.maxTxid}, and the log the rest no more: ${errorText(error)}`,
      { cause: error },
    );
  } finally {
    fs.closeSync(fd);
  }
}
