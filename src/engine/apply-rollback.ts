/**
 * Writing a replica's database file itself, under SQLite's locks: the rollback-journal modes, and what
 * cannot be appended to a -wal. There is no journal: the entry is in the log already, and is redone from there.
 */
import { PENDING_BYTE, SHARED_FIRST, SHARED_SIZE } from '../sqlite/locks.ts';
import { checkpointAll } from './checkpoint.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { looksStrange, noteLook } from './former-writers.ts';
import { insist } from './insist.ts';
import { asksForWal, type DatabaseShape, letReadersUseWal } from './readers-wal.ts';
import { rest, untilRemovable, whenLookedUp } from './rest.ts';
import type { Task } from './scheduler.ts';

export interface PageWrites {
  readonly pageSize: number;
  /** Size of the database afterwards; not 0. */
  readonly pageCount: number;
  /** Calls `write` for each page; once more when the disk was full. */
  pages(write: (pgno: number, data: Uint8Array) => void): Task<void>;
  /** Called once, when the locks are held, before the first write: may throw, then nothing has happened. */
  beforeWriting(): void;
}

const LOCK_REST_MS = 1;
/** PENDING, RESERVED and the shared range, which lie side by side. */
const LOCK_BYTES = SHARED_FIRST + SHARED_SIZE - PENDING_BYTE;
const FILE_MODE = 0o644;
/** After this long with readers in the way, the log says so. */
const PATIENCE_MS = 5000;

/**
 * Writes pages under an EXCLUSIVE lock, which waits for readers to end. A -wal goes, once all of it is in the file; when page 1
 * asks for one, whatever became of it all, there is one before readers come again.
 */
export function* writePages(ctx: EngineContext, db: Database, writes: PageWrites): Task<void> {
  yield* whenLookedUp(ctx, () => db.files.create('db', FILE_MODE));
  if (db.wal.cursor) yield* untilRemovable(ctx, db.files);
  const unlock = yield* lockExclusive(ctx, db);
  try {
    let shape: DatabaseShape = { pageSize: db.pageSize, pageCount: db.pageCount };
    try {
      if (db.wal.cursor) yield* removeWal(db);
      const isStrange = looksStrange(db);
      writes.beforeWriting();
      shape = writes;
      // A half-written file would be worse than readers who wait.
      yield* insist(ctx, db, () => writeOver(db, writes));
      if (db.look !== undefined && !isStrange) noteLook(db);
    } finally {
      if (asksForWal(db)) yield* insist(ctx, db, () => letReadersUseWal(ctx, db, shape));
    }
  } finally {
    unlock();
  }
}

function* writeOver(db: Database, { pages, pageSize, pageCount }: PageWrites): Task<void> {
  yield* pages((pgno, data) => {
    db.files.write('db', data, (pgno - 1) * pageSize);
  });
  const bytes = pageCount * pageSize;
  if (db.files.size('db') !== bytes) db.files.truncate('db', bytes);
}

/** As a writer that commits: PENDING keeps new readers out, then EXCLUSIVE when the last has left. */
export function* lockExclusive(ctx: EngineContext, db: Database): Task<() => void> {
  if (!db.files.exists('db')) return () => {};
  const startedMs = ctx.clockMs();
  let told = false;
  const wait = () => {
    if (told || ctx.clockMs() - startedMs < PATIENCE_MS) return LOCK_REST_MS;
    told = true;
    ctx.log('warn', `${db.name}: a transaction waits for readers to finish`, { database: db.name });
    return LOCK_REST_MS;
  };
  while (!db.files.lock('db', 'write', PENDING_BYTE, 1)) yield* rest(ctx, wait());
  while (!db.files.lock('db', 'write', PENDING_BYTE, LOCK_BYTES)) yield* rest(ctx, wait());
  return () => {
    if (!db.lent) {
      db.files.lock('db', 'unlock', PENDING_BYTE, LOCK_BYTES);
      return;
    }
    // RESERVED stays: who writes next is the node that it is held for.
    db.files.lock('db', 'unlock', SHARED_FIRST, SHARED_SIZE);
    db.files.lock('db', 'unlock', PENDING_BYTE, 1);
  };
}

/** As lockExclusive, for once and without waiting. */
export function tryLockExclusive(db: Database): (() => void) | undefined {
  if (!db.files.lock('db', 'write', PENDING_BYTE, LOCK_BYTES)) return undefined;
  return () => {
    db.files.lock('db', 'unlock', PENDING_BYTE, LOCK_BYTES);
  };
}

/**
 * Moves everything from the -wal into the file and removes -wal and -shm. Unless somebody reads just now, who holds a shared
 * lock on the file, or it must wait: then the -wal stays in use until the next try.
 */
export function* tryLeaveWalMode(db: Database): Task<void> {
  if (db.files.removesLater) return;
  if (!db.files.lock('db', 'write', PENDING_BYTE, LOCK_BYTES)) return;
  try {
    yield* removeWal(db);
  } finally {
    db.files.lock('db', 'unlock', PENDING_BYTE, LOCK_BYTES);
  }
}

/** The caller holds EXCLUSIVE. */
function* removeWal(db: Database): Task<void> {
  yield* checkpointAll(db);
  db.files.unlink('shm');
  db.files.unlink('wal');
  db.forgetWal();
  db.leavesWal = false;
  db.versionBefore = undefined;
}

/**
 * Removes the files of a dropped database; who still reads keeps what it has open. The database goes first: without
 * its -wal it would be an older one to whoever opens it in between.
 */
export function dropFiles(db: Database): void {
  db.forgetWal();
  db.leavesWal = false;
  db.versionBefore = undefined;
  db.look = undefined;
  db.files.unlink('db');
  db.files.unlink('wal');
  db.files.unlink('shm');
}
