/**
 * Tells the readers of a primary's database how large it is while nothing is in its -wal.
 *
 * The wal-index that SQLite makes for an empty -wal says 0 pages, so that each read transaction asks for the size of the
 * file. For a file that the kernel passes through that is a request to the mount, each time: it costs two thirds of the
 * rows that are read by key. After a restart of the -wal SQLite itself leaves the size in a header without frames;
 * we publish that. It stays true until the first commit: without frames nothing changes the file.
 */
import fs from 'node:fs';
import { isOutsideFault } from '../../errors.ts';
import { ofdLock, ofdTest } from '../../os/locks.ts';
import { writeMapped } from '../../os/mapping.ts';
import { DB_HEADER_BYTES, parseDbHeader } from '../../sqlite/db-header.ts';
import {
  DMS_BYTE,
  WAL_LOCK_BASE,
  WAL_READ_SLOT,
  WAL_READERS,
  WAL_WRITE_SLOT,
} from '../../sqlite/locks.ts';
import { parseWalIndexHeader, WAL_INDEX_HEADER_BYTES } from '../../sqlite/wal-index.ts';
import { publishHeader } from '../../sqlite/wal-locks.ts';
import type { Database } from '../core/database.ts';
import type { DatabaseFiles } from '../files/files.ts';
import { shmAccess } from '../files/shm-access.ts';
import { isHeldExclusively } from '../wal/lock-looks.ts';

/** told: readers know it; not-yet: somebody reads right now, or has not made the index, so try again. */
export type SizeTold = 'told' | 'not-yet';

const WRITE_LOCK = WAL_LOCK_BASE + WAL_WRITE_SLOT;
const READ_LOCKS = WAL_LOCK_BASE + WAL_READ_SLOT(0);
/** A reader that never rests lets go for some us in every 30: it is met in a pause. About 1 ms in all. */
const LOCK_ATTEMPTS = 400;

/**
 * Does nothing unless the wal-index is in use and says 0 pages. Waits for nobody. What the system refuses is no fault of the
 * database: without it readers are slower, and nothing else.
 */
export function tellSize(db: Database): SizeTold {
  try {
    return tell(db);
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    return 'not-yet';
  }
}

function tell({ files }: Database): SizeTold {
  // Otherwise the kernel remembers the size of the file.
  if (!files.mayBeMapped) return 'told';
  if (!files.exists('shm') || isTold(files)) return 'told';
  // With locks of its own: a snapshot that is being cut holds others through the descriptor of all tasks.
  const fd = files.openAgain('shm', 'r+');
  if (fd === undefined) return 'not-yet';
  try {
    if (!lockReaders(fd)) return 'not-yet';
    // A connection that has the file to itself heeds none of these locks, and may commit now. Another one cannot become that
    // as long as we have them: it has to read first.
    if (isHeldExclusively(files) !== false) return 'not-yet';
    // After those of the readers: a writer has one of them, and is never told SQLITE_BUSY because of us.
    if (!ofdLock(fd, 'write', WRITE_LOCK, 1)) return 'not-yet';
    // Not taken by us: SQLite takes whoever has it for a reader that keeps it from changing the journal mode. Should all that
    // have it end right now, what we write is still true: nobody commits without the lock that we have.
    if (ofdTest(fd, 'write', DMS_BYTE, 1)) return 'not-yet';
    return publish(files, fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Without it a reader that goes on to write would be told SQLITE_BUSY_SNAPSHOT. */
function lockReaders(fd: number): boolean {
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
    if (ofdLock(fd, 'write', READ_LOCKS, WAL_READERS)) return true;
  }
  return false;
}

/**
 * Through a mapping: the last connection removes the -shm, which is held back until we have captured, and the kernel keeps
 * its inode locked meanwhile. A write would wait for that, and we with it. (A SHARED lock on the database keeps such a
 * connection away, but also tells one that changes the journal mode that the database is locked.)
 */
function publish(files: DatabaseFiles, fd: number): SizeTold {
  const { header, consistent } = readHeader(files);
  if (!consistent) return 'not-yet';
  if (header.mxFrame > 0 || header.pageCount > 0) return 'told';
  const pageCount = pageCountOf(files);
  if (pageCount === 0) return 'told';
  const writeShm = (offset: number, bytes: Buffer) => writeMapped(fd, offset, bytes);
  publishHeader({ ...shmAccess(files), writeShm }, { ...header, pageCount });
  return 'told';
}

/** As SQLite reckons it from the size of the file; 0 when that is no database. */
function pageCountOf(files: DatabaseFiles): number {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  files.read('db', head, 0);
  const pageSize = parseDbHeader(head)?.pageSize;
  return pageSize ? Math.ceil(files.size('db') / pageSize) : 0;
}

function isTold(files: DatabaseFiles): boolean {
  const { header, consistent } = readHeader(files);
  return consistent && (header.mxFrame > 0 || header.pageCount > 0);
}

function readHeader(files: DatabaseFiles): ReturnType<typeof parseWalIndexHeader> {
  const bytes = Buffer.alloc(WAL_INDEX_HEADER_BYTES);
  files.read('shm', bytes, 0);
  return parseWalIndexHeader(bytes);
}
