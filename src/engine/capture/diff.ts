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
 * again, busy: db.obstacle says what it waits for (core/context.ts). incomplete: it is shorter than its header says, most likely
 * because it is being copied.
 */
export type DiffResult =
  | 'captured'
  | 'unchanged'
  | 'again'
  | 'busy'
  | 'incomplete'
  | 'not-a-database';

const PAGES_PER_STEP = 256;
const HOLDS_REST_MS = 1;
/** A connection that recovers the index needs our read mark's slot. */
const HOLDS_RESTS_MAX = 5;
const WRITTEN_MEANWHILE = 'it is written all the time';

export function* captureDifference(
  ctx: EngineContext,
  db: Database,
  access: ReadAccess,
): Task<DiffResult> {
  if (db.files.size('db') === 0 && db.files.size('wal') === 0) {
    db.suspicion = undefined;
    if (db.pageCount === 0) return 'unchanged';
    db.forgetWal();
    writeDrop(ctx, db);
    return 'captured';
  }
  const read = yield* beginConsistentRead(ctx, db, access);
  if ('cannot' in read) {
    if (read.cannot === 'not-a-database') return 'not-a-database';
    db.obstacle = read.reason;
    return read.lasts ? 'busy' : 'again';
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
    if (!(yield* holds(read))) {
      writer.abort();
      db.obstacle = WRITTEN_MEANWHILE;
      return 'again';
    }
    const same = comparable && writer.pageCount === 0 && pageCount === db.pageCount;
    if (same) writer.abort();
    else writer.finish();
    db.forgetWal();
    setFollowed(db, read.followed);
    for (const [pgno, frame] of read.frames) db.wal.frames.set(pgno, frame);
    db.suspicion = undefined;
    db.changeCounter = parseDbHeader(page)?.changeCounter ?? 0;
    return same ? 'unchanged' : 'captured';
  } catch (error) {
    writer.abort();
    throw error;
  }
}

/** A writer that is stopped while it publishes goes on when it gets a processor again. */
function* holds(read: ConsistentRead): Task<boolean> {
  for (let rests = 0; rests < HOLDS_RESTS_MAX; rests++) {
    const isSo = read.holds();
    if (isSo !== undefined) return isSo;
    yield HOLDS_REST_MS;
  }
  return false;
}
