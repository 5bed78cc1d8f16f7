/**
 * The halt lock on the primary: takes the write lock of a database in SQLite's own way and keeps it, so that no
 * application here writes, and applies the transactions of the node that it is kept for as a replica would.
 *
 * WAL mode: the write slot of the -shm, and SHARED on the file through a descriptor of its own, which keeps the last
 * connection from taking -wal and -shm away. Rollback-journal modes: RESERVED. Readers go on.
 */
import fs from 'node:fs';
import { LiteFsError } from '../errors.ts';
import type { Position } from '../ltx/position.ts';
import { ofdLock } from '../os/locks.ts';
import { DB_HEADER_BYTES, parseDbHeader } from '../sqlite/db-header.ts';
import {
  DMS_BYTE,
  RESERVED_BYTE,
  SHARED_FIRST,
  SHARED_SIZE,
  WAL_LOCK_BASE,
  WAL_WRITE_SLOT,
} from '../sqlite/locks.ts';
import {
  encodeWalHeader,
  frameOffset,
  parseWalHeader,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  walCursorAtStart,
} from '../sqlite/wal.ts';
import { applyQueue } from './apply.ts';
import type { CaptureOutcome } from './capture.ts';
import { withJournal } from './capture-journal.ts';
import { followAppended } from './capture-wal.ts';
import type { EngineContext } from './context.ts';
import { readCurrentPage } from './current-page.ts';
import type { Database } from './database.ts';
import { OpenWouldBlock } from './files.ts';
import type { LtxInput } from './ltx-input.ts';
import { rest } from './rest.ts';
import type { Scheduler, Task } from './scheduler.ts';

export interface LendOptions {
  readonly scheduler: Scheduler;
  /** How long a writer is waited for. */
  readonly waitMs: number;
  /** Captures what is committed. */
  readonly flush: () => Task<CaptureOutcome>;
  /** Has -wal and -shm made. */
  readonly makeWal: () => void;
}

const REST_MS = 5;
const MAKE_AGAIN_MS = 100;
/** Descriptors with SHARED on a database in WAL mode. */
const guards = new Map<Database, number>();

/**
 * Takes the lock. Throws DATABASE_BUSY when a writer does not end; DATABASE_NOT_FOUND; then nothing is held. Tried again
 * and again in the lane of the database, which the writer that is waited for needs in between.
 */
export function* lend(ctx: EngineContext, db: Database, options: LendOptions): Task<void> {
  const untilMs = ctx.clockMs() + options.waitMs;
  let askedMs = Number.NEGATIVE_INFINITY;
  const makeWal = () => {
    // Again after a while: an application that was closing has removed what was made beneath it.
    if (ctx.clockMs() - askedMs < MAKE_AGAIN_MS) return;
    askedMs = ctx.clockMs();
    options.makeWal();
  };
  for (;;) {
    const attempt: { over: boolean; error?: unknown; locked?: boolean } = { over: false };
    options.scheduler.add(
      db.name,
      () => tryLend(ctx, db, options.flush, makeWal),
      (error, locked) => Object.assign(attempt, { over: true, error, locked }),
    );
    while (!attempt.over) yield 1;
    if (attempt.error !== undefined) throw attempt.error;
    if (attempt.locked) return;
    if (ctx.clockMs() > untilMs) {
      throw new LiteFsError(
        'DATABASE_BUSY',
        `${db.name}: an application on the primary keeps it locked`,
      );
    }
    yield* rest(ctx, REST_MS);
  }
}

function* tryLend(
  ctx: EngineContext,
  db: Database,
  flush: LendOptions['flush'],
  makeWal: () => void,
): Task<boolean> {
  if (db.lent) throw new LiteFsError('WRONG_STATE', `${db.name} is lent already`);
  if (db.pageCount === 0 && db.files.size('db') === 0) {
    throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${db.name} here`);
  }
  let locked = false;
  try {
    yield* flush();
    const isWal = inWalMode(db);
    if (isWal && !(db.files.exists('wal') && db.files.exists('shm'))) {
      makeWal();
      return false;
    }
    locked = isWal ? lockWal(db) : lockRollback(db);
    if (!locked) return false;
    // What was committed since we looked is captured now; nothing more can come.
    const outcome = yield* flush();
    if (outcome === 'done' && inWalMode(db) === isWal && db.pageCount > 0) {
      if (isWal) adoptWal(ctx, db);
      db.lent = true;
      return true;
    }
    unlock(db);
    return false;
  } catch (error) {
    if (locked) unlock(db);
    if (error instanceof OpenWouldBlock) return false;
    throw error;
  }
}

/** Applies a transaction of the node that the lock is kept for. Throws WRONG_STATE, CHECKSUM_MISMATCH, LTX_CORRUPT, DISK. */
export function* commitForOther(ctx: EngineContext, db: Database, input: LtxInput): Task<Position> {
  if (!db.lent || !isStillLocked(db)) {
    throw new LiteFsError('WRONG_STATE', `the halt lock of ${db.name} is no longer held`);
  }
  let failure: unknown;
  let position: Position | undefined;
  const done = (error: unknown, reached: Position | undefined) => {
    failure = error;
    position = reached;
  };
  yield* applyQueue(ctx, db, [{ input, done }]);
  if (!position) throw failure;
  followAppended(db);
  if (!db.wal.cursor) db.changeCounter = headerOf(db)?.changeCounter ?? 0;
  return position;
}

/** Gives the lock back. */
export function takeBack(db: Database): void {
  if (!db.lent) return;
  db.lent = false;
  unlock(db);
  // Only who appends needs to know them.
  db.wal.pages = [];
}

function isStillLocked(db: Database): boolean {
  return db.wal.cursor
    ? db.files.lock('shm', 'write', WAL_LOCK_BASE + WAL_WRITE_SLOT, 1)
    : db.files.lock('db', 'write', RESERVED_BYTE, 1);
}

function lockWal(db: Database): boolean {
  db.files.closeReplaced();
  // Opened before anything is locked: each may have to be looked up first.
  if (db.files.fd('shm') === undefined || db.files.fd('wal') === undefined) return false;
  const guard = db.files.openAgain('db');
  if (guard === undefined) return false;
  guards.set(db, guard);
  const locked =
    ofdLock(guard, 'read', SHARED_FIRST, SHARED_SIZE) &&
    db.files.lock('shm', 'read', DMS_BYTE, 1) &&
    db.files.lock('shm', 'write', WAL_LOCK_BASE + WAL_WRITE_SLOT, 1) &&
    // From now on nobody takes them away; somebody may have, since they were opened.
    !db.files.isReplaced('wal') &&
    !db.files.isReplaced('shm');
  if (!locked) unlock(db);
  return locked;
}

function lockRollback(db: Database): boolean {
  if (!db.files.lock('db', 'write', RESERVED_BYTE, 1)) return false;
  const first = withJournal(db, (file) => file.read(0, 1)[0]);
  if ((first ?? 0) === 0) return true;
  // A hot journal: its writer has died, and the next application to open the database rolls it back.
  unlock(db);
  return false;
}

function unlock(db: Database): void {
  const guard = guards.get(db);
  if (guard !== undefined) {
    guards.delete(db);
    fs.closeSync(guard);
    db.files.lock('shm', 'unlock', WAL_LOCK_BASE + WAL_WRITE_SLOT, 1);
    db.files.lock('shm', 'unlock', DMS_BYTE, 1);
  } else {
    db.files.lock('db', 'unlock', RESERVED_BYTE, 1);
  }
}

/**
 * What a replica knows of its -wal, for one that applications have written: the page of each frame, and where it
 * ends. All of it is captured, and nobody can write it.
 */
function adoptWal(ctx: EngineContext, db: Database): void {
  const { pageSize } = db;
  const head = Buffer.alloc(WAL_HEADER_BYTES);
  const read = db.files.read('wal', head, 0);
  const found = read === WAL_HEADER_BYTES ? parseWalHeader(head) : undefined;
  const index = db.index.header();
  const { cursor } = db.wal;
  const isCurrent = cursor && found && found.salt1 === cursor.salt1 && found.salt2 === cursor.salt2;
  if (isCurrent) {
    db.wal.pages = [];
    db.wal.frames.clear();
    const frame = Buffer.alloc(WAL_FRAME_HEADER_BYTES);
    for (let n = 1; n <= cursor.frame; n++) {
      db.files.read('wal', frame, frameOffset(n, pageSize));
      const pgno = frame.readUInt32BE(0);
      db.wal.pages.push(pgno);
      db.wal.frames.set(pgno, n);
    }
  } else {
    // Nothing that counts is in it: the next frame begins the generation that the wal-index has announced.
    const announced = index?.isInit && index.mxFrame === 0 ? index : undefined;
    const fresh = encodeWalHeader({
      bigEndian: false,
      pageSize,
      checkpointSequence: found ? (found.checkpointSequence + 1) >>> 0 : 0,
      salt1: announced?.salt1 ?? (found ? (found.salt1 + 1) >>> 0 : ctx.random32()),
      salt2: announced?.salt2 ?? ctx.random32(),
    });
    db.files.write('wal', fresh, 0);
    db.forgetWal();
    const parsed = parseWalHeader(fresh);
    if (parsed) db.wal.cursor = walCursorAtStart(parsed);
  }
  db.wal.backfilled = 0;
  db.index.restarted();
  const end = db.wal.cursor;
  if (end && !db.index.isAt(end)) db.index.rebuild(end, db.wal.pages, db.pageCount);
  followAppended(db);
}

function inWalMode(db: Database): boolean {
  if (db.pageCount === 0) return headerOf(db)?.writeVersion === 2;
  const head = Buffer.alloc(DB_HEADER_BYTES);
  readCurrentPage(db, 1, head);
  return parseDbHeader(head)?.writeVersion === 2;
}

function headerOf(db: Database) {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  return parseDbHeader(head);
}
