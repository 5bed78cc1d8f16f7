/**
 * Writing a replica's database file itself, under SQLite's locks: the rollback-journal modes, and what
 * cannot be appended to a -wal. There is no journal: the entry is in the log already, and is redone from there.
 */
import { parseDbHeader } from '../sqlite/db-header.ts';
import { PENDING_BYTE, SHARED_FIRST, SHARED_SIZE } from '../sqlite/locks.ts';
import { checkpointAll } from './checkpoint.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { looksStrange, noteLook } from './former-writers.ts';
import { insist } from './insist.ts';
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

/** Writes pages under an EXCLUSIVE lock, which waits for readers to end. Tells what page 1 says then. */
export function* writePages(
  ctx: EngineContext,
  db: Database,
  writes: PageWrites,
): Task<{ walMode: boolean }> {
  yield* whenLookedUp(ctx, () => db.files.create('db', FILE_MODE));
  const unlock = yield* lockExclusive(ctx, db);
  try {
    const isStrange = looksStrange(db);
    writes.beforeWriting();
    // A half-written file would be worse than readers who wait.
    yield* insist(ctx, db, () => writeOver(db, writes));
    if (db.look !== undefined && !isStrange) noteLook(db);
    const head = Buffer.alloc(100);
    db.files.read('db', head, 0);
    return { walMode: parseDbHeader(head)?.writeVersion === 2 };
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
 * Moves everything from the -wal into the file and removes -wal and -shm. Waits until nobody
 * reads: a reader in WAL mode holds a shared lock on the file.
 */
export function* leaveWalMode(ctx: EngineContext, db: Database): Task<void> {
  yield* untilRemovable(ctx, db.files);
  const unlock = yield* lockExclusive(ctx, db);
  try {
    yield* removeWal(db);
  } finally {
    unlock();
  }
}

/** The same, unless somebody reads just now, or it must wait: then the -wal stays in use until the next try. */
export function* tryLeaveWalMode(db: Database): Task<void> {
  if (db.files.removesLater) return;
  if (!db.files.lock('db', 'write', PENDING_BYTE, LOCK_BYTES)) return;
  try {
    yield* removeWal(db);
  } finally {
    db.files.lock('db', 'unlock', PENDING_BYTE, LOCK_BYTES);
  }
}

function* removeWal(db: Database): Task<void> {
  yield* checkpointAll(db);
  db.forgetWal();
  db.leavesWal = false;
  db.versionBefore = undefined;
  db.files.unlink('shm');
  db.files.unlink('wal');
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
