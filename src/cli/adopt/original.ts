/** A database outside of the mount: looked at, made whole, and kept from others while it is copied. */
import fs from 'node:fs';
import Database from 'better-sqlite3';
import { errorText, LiteFsError } from '../../errors.ts';
import { isOpenElsewhere } from '../../os/locks.ts';
import { checkIntegrity } from '../../snapshots/integrity.ts';
import { DB_HEADER_BYTES, parseDbHeader } from '../../sqlite/db-header.ts';
import { refuseUsers, usersOf } from './mounted.ts';
import { SIDE_FILES } from './names.ts';

/** Throws USAGE when it is no database, or one that cannot be moved by its name; WRONG_STATE when it is in use. */
export function inspect(file: string): fs.Stats {
  const stat = fs.lstatSync(file);
  const header = Buffer.alloc(DB_HEADER_BYTES);
  const fd = fs.openSync(file, 'r');
  try {
    fs.readSync(fd, header, 0, header.length, 0);
    if (parseDbHeader(header) === undefined) {
      throw new LiteFsError('USAGE', `${file} is not an SQLite database`, {
        hint:
          stat.size === 0
            ? 'It is empty: let its application make it in the mount.'
            : 'Other files may lie in the mount too, but are not replicated: move them by mv.',
      });
    }
    if (stat.nlink > 1) {
      throw new LiteFsError('USAGE', `${file} has ${stat.nlink - 1} more names (hard links)`, {
        hint: 'Who opens it by another name would write to the old file. Remove those first.',
      });
    }
    refuseUsers(file, usersOf(file, [process.pid]));
    if (isHeld(fd)) {
      throw new LiteFsError('WRONG_STATE', `${file} is in use by a process that cannot be seen`, {
        hint: 'Is it one in a container, or another user’s? As root all are seen.',
      });
    }
  } finally {
    fs.closeSync(fd);
  }
  return stat;
}

/** Whether somebody has it open for writing; false where the file system cannot tell. */
export function isHeld(fd: number): boolean {
  try {
    return isOpenElsewhere(fd);
  } catch {
    return false;
  }
}

/**
 * Opens it so that nobody else can read or write until it is closed, with all that a -wal or a journal holds in the
 * file itself. Meanwhile this process must not open the file otherwise: closing that would drop SQLite's locks.
 * Throws DATABASE_CORRUPT, WRONG_STATE when it is locked.
 */
export function seize(file: string): Database.Database {
  recover(file);
  const db = new Database(file, { fileMustExist: true, timeout: 0 });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.exec('BEGIN EXCLUSIVE; COMMIT');
    if (db.pragma('journal_mode', { simple: true }) === 'wal') {
      const [{ busy }] = db.pragma('wal_checkpoint(TRUNCATE)') as { busy: number }[];
      if (busy !== 0) throw new Database.SqliteError('database is locked', 'SQLITE_BUSY');
    }
    return db;
  } catch (error) {
    db.close();
    if (!(error instanceof Database.SqliteError)) throw error;
    throw new LiteFsError('WRONG_STATE', `${file} cannot be had alone: ${errorText(error)}`, {
      hint: 'Stop its application first.',
      cause: error,
    });
  }
}

/** Brings in what a crash of the application has left, as the application would itself, and looks at all of it. */
function recover(file: string): void {
  checkIntegrity(file, {
    of: file,
    hint: `Repair it first: sqlite3 ${file} .recover | sqlite3 repaired.db`,
  });
}

/** What SQLite left beside the name when it was closed: of no use to anybody, and by now empty. */
export function removeSideFiles(file: string): void {
  for (const suffix of SIDE_FILES) {
    const stat = fs.lstatSync(file + suffix, { throwIfNoEntry: false });
    if (stat && (stat.size === 0 || suffix === '-shm')) fs.rmSync(file + suffix);
  }
}
