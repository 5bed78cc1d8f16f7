/**
 * The net under the capture: compares every page of a database with its known checksum and captures
 * what differs as one transaction. Used whenever the chain of commits could not be followed.
 *
 * The read is consistent by SQLite's own rules: in WAL mode as a reader that holds a read mark, in
 * rollback mode under a SHARED lock.
 */
import { pageChecksum } from '../kernels/checksum.ts';
import { parseDbHeader } from '../sqlite/db-header.ts';
import { beginConsistentRead, type ConsistentRead } from './consistent-read.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import type { Task } from './scheduler.ts';
import { type EndEntry, finishEntry, writeDrop, writeTransaction } from './transaction-writer.ts';

/**
 * busy: somebody holds a lock that keeps readers out; try again. incomplete: it is shorter than its header says,
 * most likely because it is being copied.
 */
export type DiffResult = 'captured' | 'unchanged' | 'busy' | 'incomplete' | 'not-a-database';

const PAGES_PER_STEP = 256;

/**
 * `locked`: the caller knows that nobody can write now (the database's writer waits for us, or the
 * node is not mounted yet), so no lock is taken.
 */
export function* captureDifference(
  ctx: EngineContext,
  db: Database,
  options: { locked: boolean },
  end: EndEntry = finishEntry,
): Task<DiffResult> {
  if (db.files.size('db') === 0 && db.files.size('wal') === 0) {
    db.suspect = false;
    if (db.pageCount === 0) return 'unchanged';
    db.forgetWal();
    writeDrop(ctx, db);
    return 'captured';
  }
  const read = beginConsistentRead(db, options);
  if (read === 'busy' || read === 'not-a-database') return read;
  try {
    if (!options.locked && !read.isWhole) return 'incomplete';
    return yield* compareAll(ctx, db, read, options, end);
  } finally {
    read.end();
  }
}

function* compareAll(
  ctx: EngineContext,
  db: Database,
  read: ConsistentRead,
  options: { locked: boolean },
  end: EndEntry,
): Task<DiffResult> {
  const { pageSize, pageCount } = read;
  const writer = writeTransaction(ctx, db, pageSize, pageCount);
  const comparable = pageSize === db.pageSize;
  const page = Buffer.allocUnsafeSlow(pageSize);
  try {
    for (let pgno = 1; pgno <= pageCount; pgno++) {
      read.page(pgno, page);
      const sum = pageChecksum(pgno, page);
      if (!comparable || pgno > db.pageCount || sum !== db.sums.get(pgno)) {
        writer.page(pgno, page, sum);
      }
      if (pgno % PAGES_PER_STEP === 0) yield;
    }
    if (!options.locked && !read.isUndisturbed()) {
      writer.abort();
      return 'busy';
    }
    const same = comparable && writer.pageCount === 0 && pageCount === db.pageCount;
    if (same) writer.abort();
    else yield* end(writer);
    db.forgetWal();
    db.wal.nextSalt1 = read.nextSalt1;
    if (read.wal) {
      db.wal.cursor = read.wal.cursor;
      for (const [pgno, frame] of read.wal.frames) db.wal.frames.set(pgno, frame);
    }
    read.page(1, page);
    db.suspect = false;
    db.changeCounter = parseDbHeader(page)?.changeCounter ?? 0;
    return same ? 'unchanged' : 'captured';
  } catch (error) {
    writer.abort();
    throw error;
  }
}
