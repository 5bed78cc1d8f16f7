/**
 * The net under the capture: compares every page of a database with its known checksum and captures
 * what differs as one transaction. Used whenever the chain of commits could not be followed. What cannot be read as one
 * committed state (consistent-read.ts) is waited for.
 */
import { pageChecksum } from '../../kernels/checksum.ts';
import { parseDbHeader } from '../../sqlite/db-header.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { writeDrop, writeTransaction } from '../core/transaction-writer.ts';
import {
  beginConsistentRead,
  type ConsistentRead,
  type ReadAccess,
} from '../read/consistent-read.ts';
import type { Task } from '../tasks/scheduler.ts';
import { setFollowed } from './wal-entries.ts';

/**
 * busy: db.obstacle says what it waits for; try again. incomplete: it is shorter than its header says,
 * most likely because it is being copied.
 */
export type DiffResult = 'captured' | 'unchanged' | 'busy' | 'incomplete' | 'not-a-database';

const PAGES_PER_STEP = 256;
const WRITTEN_MEANWHILE = 'it is written all the time';

export function* captureDifference(
  ctx: EngineContext,
  db: Database,
  access: ReadAccess,
): Task<DiffResult> {
  if (db.files.size('db') === 0 && db.files.size('wal') === 0) {
    db.suspect = false;
    if (db.pageCount === 0) return 'unchanged';
    db.forgetWal();
    writeDrop(ctx, db);
    return 'captured';
  }
  const read = yield* beginConsistentRead(ctx, db, access);
  if ('cannot' in read) {
    if (read.cannot === 'not-a-database') return 'not-a-database';
    db.obstacle = read.reason;
    return 'busy';
  }
  try {
    if (access === 'shared' && !read.isWhole) return 'incomplete';
    return yield* compareAll(ctx, db, read);
  } finally {
    read.end();
  }
}

function* compareAll(ctx: EngineContext, db: Database, read: ConsistentRead): Task<DiffResult> {
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
    read.page(1, page);
    if (!read.holds()) {
      writer.abort();
      db.obstacle = WRITTEN_MEANWHILE;
      return 'busy';
    }
    const same = comparable && writer.pageCount === 0 && pageCount === db.pageCount;
    if (same) writer.abort();
    else writer.finish();
    db.forgetWal();
    setFollowed(db, read.followed);
    for (const [pgno, frame] of read.frames) db.wal.frames.set(pgno, frame);
    db.suspect = false;
    db.changeCounter = parseDbHeader(page)?.changeCounter ?? 0;
    return same ? 'unchanged' : 'captured';
  } catch (error) {
    writer.abort();
    throw error;
  }
}
