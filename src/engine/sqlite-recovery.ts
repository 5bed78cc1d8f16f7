/** Before mounting: has SQLite finish what an unclean stop has left of a database, its hot journal or its -wal. */
import fs from 'node:fs';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { errorText, LiteFsError } from '../errors.ts';
import { lookAt } from '../store/marker.ts';
import type { Database } from './database.ts';

/**
 * Rolls back a hot journal and moves the -wal into the file, as the next app to open it would. Throws DATABASE_CORRUPT
 * when SQLite does not understand the files, DISK when it cannot read or write them: they are as they were then.
 */
export function finishSqliteRecovery(db: Database): void {
  const file = db.files.backingPath('db').toString('latin1');
  // better-sqlite3 takes text: a name that is not UTF-8 is reached through a descriptor of its directory.
  const journal = lookAt(Buffer.from(`${file}-journal`, 'latin1'));
  const wal = lookAt(db.files.backingPath('wal'));
  fs.rmSync(db.files.backingPath('shm'), { force: true });
  // A -wal alone is what we make before a database, or have removed after it: it says nothing.
  if (!journal?.size && (!wal?.size || !db.files.exists('db'))) {
    if (wal) fs.rmSync(db.files.backingPath('wal'), { force: true });
    return;
  }
  const dir = fs.openSync(Buffer.from(path.dirname(file), 'latin1'), fs.constants.O_RDONLY);
  const name = path.basename(file);
  try {
    const sqlite = new Sqlite(
      `/proc/self/fd/${dir}/${Buffer.from(name, 'latin1').toString('utf8')}`,
    );
    try {
      sqlite.prepare('SELECT count(*) FROM sqlite_master').get();
      sqlite.pragma('wal_checkpoint(TRUNCATE)');
    } finally {
      sqlite.close();
    }
  } catch (error) {
    throw recoveryFault(db.name, error);
  } finally {
    fs.closeSync(dir);
  }
}

/**
 * What SQLite's refusal means. Only two of its codes speak of what is in the files. A full disk, for one, says nothing
 * against the database, which must not be set aside for it.
 */
export function recoveryFault(name: string, cause: unknown): unknown {
  if (!(cause instanceof Sqlite.SqliteError)) return cause;
  const text = `${errorText(cause)} (${cause.code})`;
  if (!/^SQLITE_(?:CORRUPT|NOTADB)/.test(cause.code)) {
    return new LiteFsError('DISK', `SQLite says: ${text}`, { cause });
  }
  const message = `SQLite cannot recover ${name} after an unclean stop: ${text}`;
  return new LiteFsError('DATABASE_CORRUPT', message, { cause });
}
