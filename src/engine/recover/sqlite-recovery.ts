/**
 * Before mounting: has SQLite finish what an unclean stop has left of a database, its hot journal or its -wal.
 *
 * SQLite opens files by their names and follows links. It gets none to follow: its files were looked at, through the door,
 * and what was seen stays. For a user's way to these names is the mount, which is not there yet, data.dir being its owner's
 * alone (store/layout.ts); and who has a file open from an earlier mount can change what it holds, but no name.
 */
import Sqlite from 'better-sqlite3';
import { errorText, LiteFsError } from '../../errors.ts';
import { parentOf } from '../../store/tree-door.ts';
import type { Database } from '../core/database.ts';

/**
 * Rolls back a hot journal and moves the -wal into the file, as the next app to open it would. Throws DATABASE_CORRUPT
 * when SQLite does not understand the files, DISK when it cannot read or write them, NOT_A_FILE when it would meet what is
 * none: they are as they were then.
 */
export function finishSqliteRecovery(db: Database): void {
  const { files } = db;
  const [journal, wal] = [files.look('journal'), files.look('wal')];
  const isThere = files.exists('db');
  // A -wal alone is what we make before a database, or have removed after it: it says nothing. Nor does a journal.
  if (!isThere || (!journal?.size && !wal?.size)) {
    files.unlink('shm');
    files.unlink('wal');
    if (!isThere) files.unlink('journal');
    return;
  }
  const other = files.inTheWay();
  if (other) throw other;
  files.unlink('shm');
  const name = db.name.slice(db.name.lastIndexOf('/') + 1);
  // better-sqlite3 takes text: directories whose names are not UTF-8 are reached through a descriptor.
  files.tree.inDirectory(parentOf(db.name), (dir) => {
    try {
      finish(`/proc/self/fd/${dir}/${Buffer.from(name, 'latin1').toString('utf8')}`);
    } catch (error) {
      throw recoveryFault(db.name, error);
    }
  });
}

function finish(file: string): void {
  const sqlite = new Sqlite(file);
  try {
    sqlite.prepare('SELECT count(*) FROM sqlite_master').get();
    sqlite.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    sqlite.close();
  }
}

/**
 * What SQLite's refusal means. Few of its codes speak of what is in the files; SQLITE_ERROR does, of a schema or a format that it
 * does not understand, as nothing else is asked for. A full disk, for one, says nothing against the database, which must not be
 * set aside for it.
 */
export function recoveryFault(name: string, cause: unknown): unknown {
  if (!(cause instanceof Sqlite.SqliteError)) return cause;
  const text = `${errorText(cause)} (${cause.code})`;
  if (!/^SQLITE_(?:CORRUPT|NOTADB|ERROR|FORMAT|TOOBIG)/.test(cause.code)) {
    return new LiteFsError('DISK', `SQLite says: ${text}`, { cause });
  }
  const message = `SQLite cannot recover ${name} after an unclean stop: ${text}`;
  return new LiteFsError('DATABASE_CORRUPT', message, { cause });
}
