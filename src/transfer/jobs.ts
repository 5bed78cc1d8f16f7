/**
 * Whole databases into the mount and out of it, by SQLite's own backup: its locks and its journal hold, as for any
 * application's. Runs in a process of its own (process.ts), which may wait for the mount.
 *
 * Whatever SQLite does by name in the mount, it does in the folder of the database (folder.ts): a user who owns that may
 * change names there at any time, and SQLite follows links and what journals say. The other database, in the spool, is
 * opened and closed outside of it, and needs no name in between.
 */
import fs from 'node:fs';
import Database from 'better-sqlite3';
import { errorText, LiteFsError } from '../errors.ts';
import { checkIntegrity } from '../snapshots/integrity.ts';
import { ALL_PAGES, backUp } from './backup.ts';
import { DatabaseFolder, type InMount, pathOf } from './folder.ts';

export interface ExportJob {
  readonly kind: 'export';
  readonly from: InMount;
  /** A new file. */
  readonly to: string;
}

export interface ImportJob {
  readonly kind: 'import';
  /** A database file that is ours alone. */
  readonly from: string;
  /** Made when it is not there. */
  readonly to: InMount;
}

export type TransferJob = ExportJob | ImportJob;

const PAGES_PER_STEP = 1024;
const BUSY_MS = 10_000;
const MAGIC = Buffer.from('SQLite format 3\0');

/** Resolves with the bytes of the database. Rejects with DATABASE_NOT_FOUND, DATABASE_CORRUPT, DATABASE_BUSY, NOT_A_FILE, DISK. */
export async function runTransfer(job: TransferJob): Promise<number> {
  await (job.kind === 'export' ? exportDatabase(job) : importDatabase(job));
  return fs.statSync(job.kind === 'export' ? job.to : job.from).size;
}

/** One state of the database, whatever is committed meanwhile. In a rollback-journal mode writers wait until the end. */
async function exportDatabase({ from, to }: ExportJob): Promise<void> {
  const folder = DatabaseFolder.of(from);
  try {
    if (!folder?.hasDatabase) {
      throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${pathOf(from)}`);
    }
    await exportOutOf(folder, to);
  } catch (error) {
    throw asFault(error, pathOf(from));
  } finally {
    folder?.close();
  }
}

async function exportOutOf(folder: DatabaseFolder, to: string): Promise<void> {
  const options = { readonly: true, fileMustExist: true, timeout: BUSY_MS };
  const db = await folder.inside((file) => new Database(file, options));
  try {
    await folder.inside(() => beginToRead(db));
    await backUp(db, to, { pagesPerStep: PAGES_PER_STEP, lockMsMax: BUSY_MS });
  } finally {
    await folder.inside(() => db.close());
  }
}

/** Checked first: what is not a sound database replaces nothing. Then one transaction. */
async function importDatabase({ from, to }: ImportJob): Promise<void> {
  const folder = DatabaseFolder.of(to);
  if (!folder) {
    throw new LiteFsError('WRONG_STATE', `there is no directory for ${pathOf(to)}`, {
      hint: 'Make it, with the owner that its applications need, and import again. Links are not followed.',
    });
  }
  try {
    await importInto(folder, from, pathOf(to));
  } finally {
    folder.close();
  }
}

async function importInto(folder: DatabaseFolder, from: string, shown: string): Promise<void> {
  if (!hasMagic(from)) {
    throw new LiteFsError('DATABASE_CORRUPT', 'what was sent is no SQLite database', {
      hint: 'An SQL text goes in by: sqlite3 DATABASE < FILE',
    });
  }
  checkIntegrity(from, { of: 'what was sent' });
  const db = new Database(from, { fileMustExist: true });
  try {
    beginToRead(db);
    const options = { pagesPerStep: ALL_PAGES, lockMsMax: BUSY_MS };
    await folder.inside((file) => backUp(db, file, options));
  } catch (error) {
    throw asFault(error, shown);
  } finally {
    db.close();
  }
}

/** Nothing more is opened for it by name, and no commit makes its copy start over. */
function beginToRead(db: Database.Database): void {
  db.exec('BEGIN');
  db.prepare('SELECT count(*) FROM sqlite_schema').get();
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
