/**
 * What a start finds of where a database stands: the saved table of page checksums, and the log that goes on from it. The one
 * place that keeps their orders:
 *
 * - The log is on the disk before a table that was moved on by it.
 * - The log goes only when the disk has what it would redo, and a table that goes on without it. After a crash in between
 *   the table stands for itself, and what is left of the log is set aside (recover.ts).
 *
 * That the log is on the disk before a page that it would redo, files.ts sees to.
 */
import fs from 'node:fs';
import type { Position } from '../../ltx/position.ts';
import type { PageSums } from '../../store/page-sums.ts';
import { replacePageSums, savePageSums } from '../../store/page-sums-file.ts';
import type { Database } from './database.ts';

/** A state of a database that its log does not lead to. */
export interface NewState {
  readonly sums: PageSums;
  readonly position: Position;
  /** Bytes. */
  readonly pageSize: number;
}

/** Saves the table as it is. Throws what the disk says. */
export function saveState(db: Database): void {
  db.log.sync();
  savePageSums(db.sumsFile, db.sums, db.position, db.pageSize);
  db.sumsSavedTxid = db.position.txid;
}

/**
 * Goes over to a state of which the log knows nothing, and begins that anew. The caller has all pages of it on the disk, or
 * where redo.ts finds them. Throws what the disk says; then nothing has changed.
 */
export function beginLogAnew(db: Database, { sums, position, pageSize }: NewState): void {
  syncPages(db);
  replacePageSums(db.sumsFile, sums, position, pageSize);
  db.sums = sums;
  db.position = position;
  db.pageSize = pageSize;
  db.sumsSavedTxid = position.txid;
  db.log.reset();
}

/** The database is no more, nor anything that is known of it. */
export function forgetState(db: Database): void {
  fs.rmSync(db.sumsFile, { force: true });
  db.log.reset();
  db.sums.clear();
}

/** Has the disk have what the log was kept for. Throws what the disk says. */
export function syncPages(db: Database): void {
  db.files.sync('db');
  db.files.sync('wal');
}
