/**
 * Checkpoints of a replica's -wal by SQLite's rules: copy what no reader needs in the -wal any more into the
 * database file, and start the -wal over when all of it is there and nobody reads from it.
 *
 * Not by a SQLite connection: that would hold POSIX locks in our process, and would not tell us what it did.
 */
import assert from 'node:assert';
import { WAL_CKPT_SLOT, WAL_READ_SLOT, WAL_WRITE_SLOT } from '../sqlite/locks.ts';
import {
  encodeWalHeader,
  frameOffset,
  parseWalHeader,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  walCursorAtStart,
} from '../sqlite/wal.ts';
import { BACKFILL_OFFSET } from '../sqlite/wal-index.ts';
import { checkpointLimit, tryRestart } from '../sqlite/wal-locks.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import type { Task } from './scheduler.ts';
import { shmAccess } from './shm-access.ts';

/** SQLite's own default: 1000 pages of 4 KiB. */
const CHECKPOINT_BYTES = 4 << 20;
/** A -wal that has grown past this is cut back when it is started over. */
const WAL_KEEP_BYTES = 16 << 20;
const PAGES_PER_STEP = 256;
/** Transactions wait for this, so it is short. */
const RESTART_TRIES = 10;
const RESTART_REST_MS = 1;

/** Checkpoints when the -wal has grown enough since the last time that it could. */
export function* checkpointIfLarge(ctx: EngineContext, db: Database): Task<void> {
  const { cursor } = db.wal;
  if (!cursor) return;
  const frameBytes = cursor.pageSize + WAL_FRAME_HEADER_BYTES;
  if ((cursor.frame - db.wal.backfilled) * frameBytes < CHECKPOINT_BYTES) return;
  const complete = yield* checkpoint(db);
  // Readers that come from now on need nothing of the -wal; those that came while pages were copied leave it soon.
  for (let tries = RESTART_TRIES; complete && !restartWal(ctx, db) && tries > 0; tries--) {
    yield RESTART_REST_MS;
    if (ctx.isDetached()) return;
  }
}

/** Copies all of the -wal; the caller holds EXCLUSIVE on the database: no reader is there, whatever the wal-index says. */
export function* checkpointAll(db: Database): Task<void> {
  const { cursor } = db.wal;
  if (cursor) yield* copyUpTo(db, cursor.frame);
}

/** As far as readers allow; whether that was all. Of the wal-index, which they may write, their marks and locks count alone. */
export function* checkpoint(db: Database): Task<boolean> {
  const { cursor } = db.wal;
  const shm = shmAccess(db.files);
  if (!cursor || !shm.lock(WAL_CKPT_SLOT, 1, 'exclusive')) return false;
  try {
    if (!db.index.isAt(cursor)) return false;
    const limit = checkpointLimit(shm, db.index.headerAt(cursor, db.pageCount));
    if (limit > db.wal.backfilled) {
      if (!shm.lock(WAL_READ_SLOT(0), 1, 'exclusive')) return false;
      try {
        yield* copyUpTo(db, limit);
        const value = Buffer.alloc(4);
        value.writeUInt32LE(limit);
        shm.writeShm(BACKFILL_OFFSET, value);
      } finally {
        shm.unlock(WAL_READ_SLOT(0), 1);
      }
    }
    return limit === cursor.frame;
  } finally {
    shm.unlock(WAL_CKPT_SLOT, 1);
  }
}

/** Copies what is not in the file yet, for good; what comes after the last page is cut off with the last frame. */
function* copyUpTo(db: Database, limit: number): Task<void> {
  if (limit <= db.wal.backfilled) return;
  db.files.sync('wal');
  yield* backfill(db, limit);
  const size = db.pageCount * db.pageSize;
  if (limit === db.wal.cursor?.frame && db.files.size('db') > size) db.files.truncate('db', size);
  db.files.sync('db');
  db.wal.backfilled = limit;
}

/** The newest image of each page in the frames that are not in the file, up to the limit, in the order of pages. */
function* backfill(db: Database, limit: number): Task<void> {
  const { pageSize, pageCount } = db;
  const from = db.wal.backfilled;
  const newest = limit === db.wal.cursor?.frame ? db.wal.frames : newestFrames(db, limit);
  const pgnos = new Uint32Array(newest.size);
  let count = 0;
  for (const [pgno, frame] of newest) {
    if (frame > from && pgno <= pageCount) pgnos[count++] = pgno;
  }
  const page = Buffer.allocUnsafe(pageSize);
  let copied = 0;
  for (const pgno of pgnos.subarray(0, count).sort()) {
    const frame = newest.get(pgno) as number;
    const offset = frameOffset(frame, pageSize) + WAL_FRAME_HEADER_BYTES;
    const read = db.files.read('wal', page, offset);
    assert.equal(read, pageSize, `frame ${frame} of ${db.name}-wal`);
    db.files.write('db', page, (pgno - 1) * pageSize);
    if (++copied % PAGES_PER_STEP === 0) yield;
  }
}

/** The newest frame up to `limit` of each page. */
function newestFrames(db: Database, limit: number): Map<number, number> {
  const newest = new Map<number, number>();
  for (let frame = 1; frame <= limit; frame++) newest.set(db.wal.pages[frame - 1], frame);
  return newest;
}

/** Starts the -wal over; false when somebody reads from it. */
function restartWal(ctx: EngineContext, db: Database): boolean {
  const shm = shmAccess(db.files);
  if (!shm.lock(WAL_WRITE_SLOT, 1, 'exclusive')) return false;
  try {
    const { cursor } = db.wal;
    if (!cursor || !db.index.isAt(cursor)) return false;
    const header = db.index.headerAt(cursor, db.pageCount);
    const restarted = tryRestart(shm, header, ctx.random32());
    if (!restarted) return false;
    const before = Buffer.alloc(WAL_HEADER_BYTES);
    db.files.read('wal', before, 0);
    const fresh = encodeWalHeader({
      bigEndian: restarted.bigEndian,
      pageSize: db.pageSize,
      checkpointSequence: ((parseWalHeader(before)?.checkpointSequence ?? 0) + 1) >>> 0,
      salt1: restarted.salt1,
      salt2: restarted.salt2,
    });
    if (db.files.size('wal') > WAL_KEEP_BYTES) db.files.truncate('wal', 0);
    db.files.write('wal', fresh, 0);
    db.forgetWal();
    const parsed = parseWalHeader(fresh);
    assert(parsed, 'a -wal header that we wrote is not one');
    db.wal.cursor = walCursorAtStart(parsed);
    db.index.restarted();
    return true;
  } finally {
    if (!db.lent) shm.unlock(WAL_WRITE_SLOT, 1);
  }
}
