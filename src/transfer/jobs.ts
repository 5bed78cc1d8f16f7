/**
 * Whole databases into the mount and out of it, by SQLite's own backup: its locks and its journal hold, as for any
 * application's. Runs in a process of its own (process.ts), which may wait for the mount.
 */
import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { errorText, LiteFsError } from '../errors.ts';
import { checkIntegrity } from '../snapshots/integrity.ts';
import { ALL_PAGES, backUp } from './backup.ts';

export interface ExportJob {
  readonly kind: 'export';
  /** In the mount. */
  readonly from: string;
  /** A new file. */
  readonly to: string;
}

export interface ImportJob {
  readonly kind: 'import';
  /** A database file that is ours alone. */
  readonly from: string;
  /** In the mount; made when it is not there. */
  readonly to: string;
}

export type TransferJob = ExportJob | ImportJob;

const PAGES_PER_STEP = 1024;
const BUSY_MS = 10_000;
const MAGIC = Buffer.from('SQLite format 3\0');

/** Resolves with the bytes of the database. Rejects with DATABASE_NOT_FOUND, DATABASE_CORRUPT, DATABASE_BUSY, DISK. */
export async function runTransfer(job: TransferJob): Promise<number> {
  await (job.kind === 'export' ? exportDatabase(job) : importDatabase(job));
  return fs.statSync(job.kind === 'export' ? job.to : job.from).size;
}

/** One state of the database, whatever is committed meanwhile. In a rollback-journal mode writers wait until the end. */
async function exportDatabase({ from, to }: ExportJob): Promise<void> {
  if (!fs.existsSync(from)) {
    throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${from}`);
  }
  const db = new Database(from, { readonly: true, fileMustExist: true, timeout: BUSY_MS });
  try {
    // A read transaction, so that no commit makes the copy begin anew.
    db.exec('BEGIN');
    db.prepare('SELECT count(*) FROM sqlite_schema').get();
    await backUp(db, to, { pagesPerStep: PAGES_PER_STEP, lockMsMax: BUSY_MS });
  } catch (error) {
    throw asFault(error, from);
  } finally {
    db.close();
  }
}

/** Checked first: what is not a sound database replaces nothing. Then one transaction. */
async function importDatabase({ from, to }: ImportJob): Promise<void> {
  const dir = path.dirname(to);
  if (!fs.existsSync(dir)) {
    throw new LiteFsError('WRONG_STATE', `there is no directory ${dir}`, {
      hint: 'Make it, with the owner that its applications need, and import again.',
    });
  }
  if (!hasMagic(from)) {
    throw new LiteFsError('DATABASE_CORRUPT', 'what was sent is no SQLite database', {
      hint: 'An SQL text goes in by: sqlite3 DATABASE < FILE',
    });
  }
  checkIntegrity(from, { of: 'what was sent' });
  const db = new Database(from, { fileMustExist: true });
  try {
    await backUp(db, to, { pagesPerStep: ALL_PAGES, lockMsMax: BUSY_MS });
  } catch (error) {
    throw asFault(error, to);
  } finally {
    db.close();
  }
}

function hasMagic(file: string): boolean {
  const fd = fs.openSync(file, 'r');
  try {
    const head = Buffer.alloc(MAGIC.length);
    fs.readSync(fd, head, 0, head.length, 0);
    return head.equals(MAGIC);
  } finally {
    fs.closeSync(fd);
  }
}

function asFault(error: unknown, file: string): unknown {
  if (!(error instanceof Database.SqliteError)) return error;
  const options = { cause: error };
  switch (error.code.split('_', 2).join('_')) {
    case 'SQLITE_READONLY':
      return new LiteFsError('WRONG_STATE', `${file} has another page size, or cannot be written`, {
        hint: 'Stop its applications, remove it, and import it again.',
        ...options,
      });
    case 'SQLITE_CANTOPEN':
      return new LiteFsError('WRONG_STATE', `${file} cannot be opened: ${errorText(error)}`, {
        hint: 'Is something else there, or its name too long? Nothing was changed.',
        ...options,
      });
    case 'SQLITE_NOTADB':
    case 'SQLITE_CORRUPT':
      return new LiteFsError('DATABASE_CORRUPT', `${file}: ${errorText(error)}`, options);
    case 'SQLITE_FULL':
    case 'SQLITE_IOERR':
      return new LiteFsError('DISK', `${file}: ${errorText(error)}`, options);
    default:
      return new LiteFsError('DATABASE_BUSY', `${file} cannot be used: ${errorText(error)}`, {
        hint: 'Is an application in a long transaction? Nothing was changed.',
        ...options,
      });
  }
}
