/** What locks tell of the applications that use a database. None is taken: an application must never meet one of ours. */
import { SHARED_FIRST, SHARED_SIZE, WAL_LOCK_BASE, WAL_WRITE_SLOT } from '../../sqlite/locks.ts';
import { type DatabaseFiles, type HasFiles, OpenWouldBlock } from '../files/files.ts';
import type { Task } from '../tasks/scheduler.ts';
import { sameSalts, type WalFileHeader } from './wal-follow.ts';
import { readWalIndex } from './wal-index-file.ts';
import { mayHaveFrame, readWalFileHeader, scanFrames } from './wal-scan.ts';

/** A connection is alone, so that its index is nowhere but in its memory, and its -wal has commits that no checksum vouches for. */
export const MAY_SEE_MORE =
  'the last commits have no checksums, as SQLite before 3.51 writes them after a savepoint was rolled back, ' +
  'and locking_mode=EXCLUSIVE hides which of them count: the next checkpoint tells';

/**
 * Whether a connection is in a write transaction, or checkpoints and resets the -wal. One that went over to
 * locking_mode=EXCLUSIVE after it had opened the -wal publishes its commits in the -shm, but takes no lock there: it may be
 * in a transaction as long as there is more in the -wal than it has published.
 */
export function isBeingWritten(db: HasFiles): boolean {
  if (!db.files.exists('shm')) return false;
  if (!db.files.couldLock('shm', 'read', WAL_LOCK_BASE + WAL_WRITE_SLOT, 1)) return true;
  return isHeldExclusively(db.files) !== false && hasUnpublishedFrames(db);
}

/** Whether a connection has the database file to itself; undefined when that cannot be told, as the file is not open. */
export function isHeldExclusively(files: DatabaseFiles): boolean | undefined {
  try {
    return !files.couldLock('db', 'read', SHARED_FIRST, SHARED_SIZE);
  } catch (error) {
    if (error instanceof OpenWouldBlock) return undefined;
    throw error;
  }
}

function hasUnpublishedFrames(db: HasFiles): boolean {
  const index = readWalIndex(db.files);
  if (typeof index === 'string') return index === 'unstable';
  const header = readWalFileHeader(db);
  if (!header) return false;
  return mayHaveFrame(db, header, sameSalts(index, header) ? index.mxFrame + 1 : 1);
}

/**
 * Of a -wal whose index is nowhere to be seen: whether a connection keeps that in its memory, and may see commits behind the end
 * of the chain, with the checksums that SQLite before 3.51 leaves out. When all have died, its recovery does not find them.
 */
export function* maySeeMore(db: HasFiles, generation: WalFileHeader, frame: number): Task<boolean> {
  if (!mayHaveFrame(db, generation, frame + 1) || isHeldExclusively(db.files) === false)
    return false;
  return (yield* scanFrames(db, generation, frame)).commits > 0;
}
