/**
 * One state of a database as one file, made of what is read by descriptors: the database, its -wal and its journal are copied
 * to a folder that is ours alone, and SQLite finishes there what is unfinished. What it was copied from is never written,
 * and no path that another user could change is opened.
 */
import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { errorText, LiteFsError } from '../../errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../../kernels/checksum.ts';
import { type Folder, throughProc } from '../../os/folder.ts';
import { isOfContent } from '../../snapshots/integrity.ts';
import { isDatabaseHeader, lockPageNumber } from '../../sqlite/db-header.ts';
import { JOURNAL_MAGIC } from '../../sqlite/journal-format.ts';

export interface Whole {
  /** Where it is: ours alone. */
  readonly file: string;
  readonly pageSize: number;
  readonly pages: number;
}

const MAGIC_BYTES = 16;
const CHUNK_BYTES = 1 << 20;

/**
 * Copies a database, open as `fd`, with what lies beside it in its folder, to a new file `to`. A consistent one only if
 * nobody writes meanwhile. The -wal comes first: what a checkpoint moves into the database meanwhile is in it.
 * Throws WRONG_STATE when it is a part of a transaction over several databases, DISK.
 */
export function copyParts(folder: Folder, name: string, fd: number, to: string): void {
  for (const suffix of ['-wal', '-journal']) {
    const part = partOf(folder, `${name}${suffix}`);
    if (part === undefined) continue;
    try {
      if (suffix === '-wal') copy(part, `${to}-wal`);
      else if (isHot(part)) {
        refuseSuperJournal(part, folder.at(name));
        copy(part, `${to}-journal`);
      }
    } finally {
      fs.closeSync(part);
    }
  }
  copy(fd, to);
}

/** Has SQLite bring all of it into the file, as the next application to open it would. Throws DATABASE_CORRUPT, DISK. */
export function finish(file: string, of: string): Whole {
  const whole = recovered(file, of);
  for (const suffix of ['-wal', '-journal']) {
    const size = fs.lstatSync(file + suffix, { throwIfNoEntry: false })?.size ?? 0;
    if (size === 0) continue;
    throw new LiteFsError('DATABASE_CORRUPT', `${of}${suffix} makes no sense to SQLite`, {
      hint: `Open it once with its application, or as its owner: sqlite3 ${of} .schema`,
    });
  }
  return whole;
}

function recovered(file: string, of: string): Whole {
  try {
    const db = new Database(file, { fileMustExist: true });
    try {
      // A database in WAL mode needs no -shm then.
      db.pragma('locking_mode = EXCLUSIVE');
      db.prepare('SELECT count(*) FROM sqlite_schema').get();
      if (db.pragma('journal_mode', { simple: true }) === 'wal') {
        db.pragma('wal_checkpoint(TRUNCATE)');
      }
      const pageSize = db.pragma('page_size', { simple: true }) as number;
      const pages = db.pragma('page_count', { simple: true }) as number;
      return { file, pageSize, pages };
    } finally {
      db.close();
    }
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    const code = isOfContent(error) ? 'DATABASE_CORRUPT' : 'DISK';
    throw new LiteFsError(code, `${of} cannot be copied: ${errorText(error)} (${error.code})`, {
      cause: error,
    });
  }
}

/** Of the database, as positions have it. */
export function checksumOf({ file, pageSize, pages }: Whole): bigint {
  const fd = fs.openSync(file, 'r');
  try {
    const page = Buffer.alloc(pageSize);
    const lockPage = lockPageNumber(pageSize);
    let xor = 0n;
    for (let pgno = 1; pgno <= pages; pgno++) {
      if (pgno === lockPage) continue;
      page.fill(0, fs.readSync(fd, page, 0, pageSize, (pgno - 1) * pageSize));
      xor ^= pageChecksum(pgno, page);
    }
    return xor | CHECKSUM_FLAG;
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Writes it into an empty file, on disk when it returns. The first bytes come last: until then it is no database, and
 * nothing is made of a part of it.
 */
export function writeInto(fd: number, { file, pageSize, pages }: Whole): void {
  const from = fs.openSync(file, 'r');
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    const magic = Buffer.alloc(MAGIC_BYTES);
    const bytes = pages * pageSize;
    for (let at = 0; at < bytes; ) {
      const wanted = Math.min(chunk.length, bytes - at);
      const got = fs.readSync(from, chunk, 0, wanted, at);
      // What SQLite counts past the end of the file is zeros.
      if (got === 0) break;
      if (at === 0) {
        chunk.copy(magic, 0, 0, MAGIC_BYTES);
        chunk.fill(0, 0, MAGIC_BYTES);
      }
      writeAll(fd, chunk.subarray(0, got), at);
      at += got;
    }
    fs.ftruncateSync(fd, bytes);
    fs.fsyncSync(fd);
    if (isDatabaseHeader(magic)) writeAll(fd, magic, 0);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(from);
  }
}

/** The name of a -wal or a hot journal with something in it, or of what is no file; undefined when there is none. */
export function beside(folder: Folder, name: string): string | undefined {
  return ['-wal', '-journal']
    .map((suffix) => name + suffix)
    .find((part) => {
      const fd = folder.openFile(part);
      if (fd === undefined) return folder.look(part) !== undefined;
      try {
        return part.endsWith('-wal') ? fs.fstatSync(fd).size > 0 : isHot(fd);
      } finally {
        fs.closeSync(fd);
      }
    });
}

/** undefined when there is none, or it is empty. Throws WRONG_STATE when it is no file. */
function partOf(folder: Folder, name: string): number | undefined {
  const fd = folder.openFile(name);
  if (fd === undefined) {
    if (folder.look(name) === undefined) return undefined;
    throw new LiteFsError('WRONG_STATE', `${folder.at(name)} is no file`, {
      hint: 'SQLite would take it for a part of the database. Look what it is, and remove it.',
    });
  }
  if (fs.fstatSync(fd).size > 0) return fd;
  fs.closeSync(fd);
  return undefined;
}

/** Whether SQLite would look into the journal: one that has ended begins with a zero. */
function isHot(journal: number): boolean {
  const first = Buffer.alloc(1);
  return fs.readSync(journal, first, 0, 1, 0) === 1 && first[0] !== 0;
}

/**
 * SQLite would look for the file that is named there, wherever that leads, take its existence for the state of the
 * transaction, and remove it afterwards.
 */
function refuseSuperJournal(journal: number, of: string): void {
  const { size } = fs.fstatSync(journal);
  const end = Buffer.alloc(JOURNAL_MAGIC.length);
  if (size < end.length) return;
  fs.readSync(journal, end, 0, end.length, size - end.length);
  if (!end.equals(JOURNAL_MAGIC)) return;
  throw new LiteFsError(
    'WRONG_STATE',
    `${of} was left in the middle of a transaction over several databases`,
    {
      hint: `Open it once with its application, or as its owner: sqlite3 ${of} .schema`,
    },
  );
}

function copy(fd: number, to: string): void {
  const { COPYFILE_EXCL, COPYFILE_FICLONE } = fs.constants;
  try {
    fs.copyFileSync(throughProc(fd), to, COPYFILE_EXCL | COPYFILE_FICLONE);
    fs.chmodSync(to, 0o600);
  } catch (error) {
    throw new LiteFsError('DISK', `cannot copy to ${path.dirname(to)}: ${errorText(error)}`, {
      hint: 'Is its disk full? Another folder, for as much as the database is long: TMPDIR=/path',
      cause: error,
    });
  }
}

function writeAll(fd: number, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(fd, bytes, done, bytes.length - done, at + done);
  }
}
