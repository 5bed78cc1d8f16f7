/** Looks at what tells how a database is being written: its journal, its -wal, and the mode that its header says. */
import fs from 'node:fs';
import { DB_HEADER_BYTES, parseDbHeader } from '../../sqlite/db-header.ts';
import type { JournalFile } from '../../sqlite/journal.ts';
import type { HasFiles } from '../files/files.ts';

/** Calls back with the journal of a database; undefined when there is none. Throws NOT_A_FILE. */
export function withJournal<T>(db: HasFiles, use: (file: JournalFile) => T): T | undefined {
  const fd = db.files.openJournal();
  if (fd === undefined) return undefined;
  try {
    return use({
      size: fs.fstatSync(fd).size,
      read(offset, length) {
        const bytes = Buffer.allocUnsafe(length);
        return bytes.subarray(0, fs.readSync(fd, bytes, 0, length, offset));
      },
    });
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * The database file was written. What is there that may tell of it: a journal that is open, or a -wal. A checkpoint comes
 * while there is a -wal, whose end is held back until that is seen.
 */
export function explanationOfWrites(db: HasFiles): 'journal' | 'wal' | undefined {
  if (db.files.size('wal') > 0) return 'wal';
  // One that begins with a zero is of no open transaction.
  const first = withJournal(db, (file) => file.read(0, 1)[0]);
  return (first ?? 0) !== 0 ? 'journal' : undefined;
}

/** Whether the database file says so: a -wal need not be there. */
export function isInWalMode(db: HasFiles): boolean {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  return parseDbHeader(head)?.writeVersion === 2;
}
