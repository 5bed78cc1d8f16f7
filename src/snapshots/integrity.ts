/** SQLite's own check of a database file. */
import path from 'node:path';
import Database from 'better-sqlite3';
import { LiteFsError } from '../errors.ts';

/** For what came out of an archive. */
export const ARCHIVED_SO = 'Its checksums are right: it was like that when it was archived.';

export interface Checked {
  /** What the file is called in messages: it may be one that is gone by then. */
  readonly of: string;
  readonly hint?: string;
}

/**
 * PRAGMA integrity_check on a database file that is ours alone. It stays as it is. Applications bring collations,
 * functions and tokenizers of their own, without which SQLite cannot check what uses them: that is no damage. All tables
 * but those are checked then, and the result says why they were not.
 * @throws LiteFsError DATABASE_CORRUPT when SQLite finds something wrong; DISK when the file cannot be read or written;
 *   DATABASE_BUSY when somebody else has it locked
 */
export function checkIntegrity(file: string, { of, hint }: Checked): string | undefined {
  let found: string;
  try {
    const db = new Database(file, { fileMustExist: true });
    try {
      // A database in WAL mode needs no -shm then.
      db.pragma('locking_mode = EXCLUSIVE');
      const { message, unchecked } = inWhole(db);
      if (message === 'ok') return unchecked;
      found = message;
    } finally {
      db.close();
    }
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    if (!isOfContent(error)) throw asFault(error, file, of);
    found = error.message;
  }
  throw new LiteFsError('DATABASE_CORRUPT', `${of}: integrity_check says: ${found}`, { hint });
}

function asFault(error: InstanceType<typeof Database.SqliteError>, file: string, of: string) {
  const message = `${of} cannot be checked: ${error.message}`;
  if (error.code.startsWith('SQLITE_BUSY')) {
    return new LiteFsError('DATABASE_BUSY', message, { cause: error });
  }
  return new LiteFsError('DISK', message, {
    hint: `Is the disk of ${path.dirname(file)} writable, and not full?`,
    cause: error,
  });
}

interface Verdict {
  /** ok, or the first thing that is wrong. */
  readonly message: string;
  readonly unchecked?: string;
}

function inWhole(db: Database.Database): Verdict {
  try {
    return { message: check(db, '1') };
  } catch (error) {
    if (!isUnknown(error)) throw error;
    return { message: byTable(db), unchecked: error.message };
  }
}

/** What cannot be checked here is left out. */
function byTable(db: Database.Database): string {
  const tables = db
    .prepare(`SELECT name FROM sqlite_schema WHERE type = 'table'`)
    .pluck()
    .all() as string[];
  for (const table of tables) {
    try {
      const message = check(db, `'${table.replaceAll("'", "''")}'`);
      if (message !== 'ok') return message;
    } catch (error) {
      if (!isUnknown(error)) throw error;
    }
  }
  return 'ok';
}

function check(db: Database.Database, argument: string): string {
  const [first] = db.pragma(`integrity_check(${argument})`) as { integrity_check: string }[];
  return first.integrity_check;
}

/** Something that SQLite does not know: `no such collation sequence`, `unknown function`, `unknown tokenizer`. */
export function isUnknown(error: unknown): error is Error {
  return error instanceof Database.SqliteError && /^SQLITE_ERROR(_|$)/.test(error.code);
}

/** Not of the disk, or of others who use the file. */
export function isOfContent({ code }: { readonly code: string }): boolean {
  return /^SQLITE_(CORRUPT|NOTADB)(_|$)/.test(code);
}
