/**
 * A SQLite reader: all pages of a database as one state that was committed, without ever being in the way of an application.
 *
 * - While connections use the wal-index: a read mark, by SQLite's protocol. It holds no lock on the database file, so that
 *   an application that is alone can still change the journal mode or close.
 * - A -wal whose index nobody uses: the chain of checksums, as SQLite's recovery reads it.
 * - Rollback-journal modes: no lock at all.
 * Where no lock keeps writers out, holds() says at the end whether one has been there, by locks, journals and the events of
 * the tree. Three answers: a view, none because it is no database, or an obstacle to wait for.
 */
import fs from 'node:fs';
import {
  DB_HEADER_BYTES,
  databasePageCount,
  isPageCountValid,
  parseDbHeader,
} from '../../sqlite/db-header.ts';
import { PENDING_BYTE, RESERVED_BYTE } from '../../sqlite/locks.ts';
import { frameOffset, WAL_FRAME_HEADER_BYTES } from '../../sqlite/wal.ts';
import { beginRead, endRead, isMarked, UNMARKED, type WalRead } from '../../sqlite/wal-locks.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { OpenWouldBlock } from '../files/files.ts';
import { shmAccess } from '../files/shm-access.ts';
import type { Task } from '../tasks/scheduler.ts';
import { isHeldExclusively, MAY_SEE_MORE, maySeeMore } from '../wal/lock-looks.ts';
import {
  atStart,
  NOT_FOLLOWED,
  sameSalts,
  settledAt,
  type WalFollowed,
} from '../wal/wal-follow.ts';
import { readWalIndex } from '../wal/wal-index-file.ts';
import { readFrameHeader, readWalFileHeader, scanChain, scanFrames } from '../wal/wal-scan.ts';
import { withJournal } from './journals.ts';
import { unwrittenFault } from './unwritten.ts';

export interface ConsistentRead {
  readonly pageSize: number;
  readonly pageCount: number;
  /** Whether the file holds as many pages as its header says: not, while it is being copied. */
  readonly isWhole: boolean;
  /** Where the -wal stands in this view. */
  readonly followed: WalFollowed;
  readonly frames: ReadonlyMap<number, number>;
  /** Fills `into` with a page; zeros past the end of the file. */
  page(pgno: number, into: Buffer): void;
  /** Whether what was read until now is one committed state; undefined when that can be told in a moment only. */
  holds(): boolean | undefined;
  end(): void;
}

/** Why there is no view: no database, or what must go away first. `lasts`: not by itself in a moment. */
export type ReadRefusal =
  | { readonly cannot: 'not-a-database' }
  | { readonly cannot: 'wait'; readonly reason: string; readonly lasts: boolean };

/**
 * shared: others may write. file: the caller knows that the database file has everything, and that nobody writes it: at
 * the end of a journal or the removal of a -wal, and before the mount.
 */
export type ReadAccess = 'shared' | 'file';

export const LOCKED_DIRECTORY = 'a directory of the mount is locked';
const BEGIN_ATTEMPTS = 100;
const EXCLUSIVE =
  'a process holds a lock that keeps readers out: in a long transaction, or by locking_mode=EXCLUSIVE';
const HOT_JOURNAL =
  'a writer died in the middle of a transaction: open the database with SQLite, which rolls it back';

/** Begins to read. end() must be called, whatever happens in between. */
export function* beginConsistentRead(
  ctx: EngineContext,
  db: Database,
  access: ReadAccess,
): Task<ConsistentRead | ReadRefusal> {
  if (access === 'file') return openView(db, FILE_ALONE);
  try {
    return yield* beginShared(ctx, db);
  } catch (error) {
    if (error instanceof OpenWouldBlock) return wait(LOCKED_DIRECTORY);
    throw error;
  }
}

/** What a view is made of. */
interface ViewParts {
  /** undefined: as the database file says. */
  readonly pageCount: number | undefined;
  readonly frames: ReadonlyMap<number, number>;
  readonly followed: WalFollowed;
  readonly holds: (view: { bytes: number }) => boolean | undefined;
  readonly end: () => void;
}

const FILE_ALONE: ViewParts = {
  pageCount: undefined,
  frames: new Map(),
  followed: NOT_FOLLOWED,
  holds: () => true,
  end() {},
};

function* beginShared(ctx: EngineContext, db: Database): Task<ConsistentRead | ReadRefusal> {
  const index = readWalIndex(db.files);
  if (index === 'unstable') return wait('its wal-index is being made');
  if (index !== 'unused') return yield* beginIndexed(ctx, db);
  return readWalFileHeader(db) ? yield* beginChained(ctx, db) : beginUnlogged(ctx, db);
}

function* beginIndexed(ctx: EngineContext, db: Database): Task<ConsistentRead | ReadRefusal> {
  // With locks of its own: others of ours, through another descriptor, come and go meanwhile.
  const fd = db.files.openAgain('shm', 'r+');
  if (fd === undefined) return wait('its wal-index is being removed');
  try {
    const read = takeMark(db, fd);
    if (!read) return wait('its wal-index is being recovered');
    // From here on nothing is copied into the file that the view has from there.
    ctx.drainEvents();
    const parts = yield* partsOf(ctx, db, fd, read, db.writes.count);
    const view = parts ? openView(db, parts) : wait('its -wal is not what the index says');
    if ('cannot' in view) fs.closeSync(fd);
    return view;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function takeMark(db: Database, fd: number): WalRead | undefined {
  const shm = shmAccess(db.files, fd);
  for (let attempt = 0; attempt < BEGIN_ATTEMPTS; attempt++) {
    const read = beginRead(shm);
    if (read === 'busy') return undefined;
    if (read !== 'retry') return read;
  }
  return undefined;
}

/** undefined when the -wal does not hold what the index says. */
function* partsOf(
  ctx: EngineContext,
  db: Database,
  fd: number,
  read: WalRead,
  writesBefore: number,
): Task<ViewParts | undefined> {
  const { header: index, slot } = read;
  const { mxFrame } = index;
  const file = readWalFileHeader(db);
  const isCurrent = file !== undefined && sameSalts(file, index);
  let frames: ReadonlyMap<number, number> = new Map();
  // A writer that never followed the -wal draws salts of its own, of which the index does not know before a commit.
  const isBegun = file !== undefined && db.wal.followed.generation?.bytes === file.bytes;
  let followed = file && (isCurrent || isBegun) ? atStart(file) : settledAt(file);
  if (mxFrame > 0) {
    if (!isCurrent) return undefined;
    // Through slot 0 all is in the file, and a writer may start the -wal over at any time.
    if (slot !== 0) {
      const scanned = yield* scanFrames(db, file, 0, mxFrame);
      if (scanned.last !== mxFrame || scanned.commit !== index.pageCount) return undefined;
      frames = scanned.frames;
    }
    const { frameChecksum1: checksum1, frameChecksum2: checksum2 } = index;
    const frameHeader = readFrameHeader(db, mxFrame, file.pageSize);
    followed = { ...atStart(file), frame: mxFrame, frameHeader, checksum1, checksum2 };
    followed = { ...followed, isChained: false };
  }
  return {
    pageCount: mxFrame > 0 ? index.pageCount : undefined,
    frames,
    followed,
    holds: () => isStill(ctx, db, { fd, read, writesBefore, lastFrame: followed.frameHeader }),
    end() {
      endRead(shmAccess(db.files, fd), read);
      fs.closeSync(fd);
    },
  };
}

interface Marked {
  readonly fd: number;
  readonly read: WalRead;
  /** How often the file had been written when the mark was held. */
  readonly writesBefore: number;
  /** The header of frame mxFrame. */
  readonly lastFrame: string;
}

/**
 * Whether the -wal still has the frames of a view, and the file none behind them. Checkpoints heed the mark, except those of a
 * connection that is alone: one that closes as the last removes the -shm, or leaves it to be made anew without our mark, and one
 * with locking_mode=EXCLUSIVE says in the end how far it came. (SQLite since 3.11 says so before it begins, but older ones leave
 * what it has said to the next generation.) Without a mark nothing may have been committed since.
 */
function isStill(ctx: EngineContext, db: Database, marked: Marked): boolean | undefined {
  const { fd, read, writesBefore, lastFrame } = marked;
  const { mxFrame, pageSize } = read.header;
  const now = readWalIndex(db.files);
  if (now === 'unstable') return undefined;
  if (now === 'unused') return false;
  // One that is alone may have copied a page a moment ago, of which its event does not tell yet.
  const hasGoneOn = now.mxFrame !== mxFrame || !sameSalts(now, read.header);
  if (read.slot === 0 && hasGoneOn && isHeldExclusively(db.files) !== false) return false;
  ctx.drainEvents();
  const isWritten = db.writes.count !== writesBefore;
  if (read.slot === 0) return !isWritten;
  if (!sameSalts(now, read.header) || !isMarked(shmAccess(db.files, fd), read)) return false;
  if (readFrameHeader(db, mxFrame, pageSize) !== lastFrame) return false;
  if (read.slot === UNMARKED) return !hasGoneOn && !isWritten;
  if (now.mxFrame === mxFrame || !isWritten) return true;
  return now.backfilled <= mxFrame && isHeldExclusively(db.files) === false;
}

function* beginChained(ctx: EngineContext, db: Database): Task<ConsistentRead | ReadRefusal> {
  const file = readWalFileHeader(db);
  if (!file) return wait('its -wal is being removed');
  const { pageSize, bigEndian, salt1, salt2, checksum1, checksum2 } = file;
  const start = { pageSize, bigEndian, salt1, salt2, frame: 0, checksum1, checksum2 };
  ctx.drainEvents();
  const { count } = db.writes;
  const { cursor, commit, frames } = yield* scanChain(db, start);
  if (yield* maySeeMore(db, file, cursor.frame)) return wait(MAY_SEE_MORE, true);
  const frameHeader = readFrameHeader(db, cursor.frame, pageSize);
  const { frame } = cursor;
  return openView(db, {
    pageCount: frame > 0 ? commit : undefined,
    frames,
    followed: {
      ...atStart(file),
      ...{ frame, frameHeader, checksum1: cursor.checksum1, checksum2: cursor.checksum2 },
    },
    holds() {
      const isStill =
        readWalFileHeader(db)?.bytes === file.bytes &&
        readFrameHeader(db, frame, pageSize) === frameHeader &&
        readWalIndex(db.files) === 'unused';
      ctx.drainEvents();
      return isStill && db.writes.count === count;
    },
    end() {},
  });
}

/** Without a -wal: by the rules of the rollback journal, but without SHARED, which would be in a writer's way. */
function beginUnlogged(ctx: EngineContext, db: Database): ConsistentRead | ReadRefusal {
  ctx.drainEvents();
  const { count } = db.writes;
  const obstacle = obstacleOf(db);
  if (obstacle !== undefined) return wait(obstacle, true);
  return openView(db, {
    ...FILE_ALONE,
    holds({ bytes }) {
      // In this order: a writer has told of all that it wrote when it lets go of its lock.
      if (obstacleOf(db) !== undefined) return false;
      ctx.drainEvents();
      return (
        db.writes.count === count && db.files.size('db') === bytes && db.files.size('wal') === 0
      );
    },
  });
}

/** What keeps the database file from being one committed state; undefined when nothing does. */
function obstacleOf(db: Database): string | undefined {
  if (!db.files.couldLock('db', 'read', PENDING_BYTE, 1)) return EXCLUSIVE;
  if (isHeldExclusively(db.files) !== false) return EXCLUSIVE;
  const isReserved = !db.files.couldLock('db', 'read', RESERVED_BYTE, 1);
  const first = withJournal(db, (file) => file.read(0, 1)[0]);
  // With its writer alive, what the journal tells of is not written yet: that takes EXCLUSIVE.
  return (first ?? 0) !== 0 && !isReserved ? HOT_JOURNAL : undefined;
}

function openView(db: Database, parts: ViewParts): ConsistentRead | ReadRefusal {
  const { frames, followed, pageCount } = parts;
  const head = Buffer.alloc(DB_HEADER_BYTES);
  const first = frames.get(1);
  const walPageSize = followed.generation?.pageSize ?? 0;
  if (first === undefined) db.files.read('db', head, 0);
  else db.files.read('wal', head, frameOffset(first, walPageSize) + WAL_FRAME_HEADER_BYTES);
  const header = parseDbHeader(head);
  if (!header) return { cannot: 'not-a-database' };
  const { pageSize } = header;
  const fault =
    pageCount === undefined
      ? undefined
      : unwrittenFault(db, { pageSize, frames, commit: pageCount });
  if (fault !== undefined) return wait(fault, true);
  const bytes = db.files.size('db');
  const count = pageCount ?? databasePageCount(header, bytes);
  return {
    pageSize,
    pageCount: count,
    isWhole: pageCount !== undefined || !isPageCountValid(header) || header.pageCount === count,
    followed,
    frames,
    page(pgno, into) {
      const frame = frames.get(pgno);
      const read =
        frame === undefined
          ? db.files.read('db', into, (pgno - 1) * pageSize)
          : db.files.read('wal', into, frameOffset(frame, pageSize) + WAL_FRAME_HEADER_BYTES);
      if (read < into.length) into.fill(0, read);
    },
    holds: () => parts.holds({ bytes }),
    end: parts.end,
  };
}

function wait(reason: string, lasts = false): ReadRefusal {
  return { cannot: 'wait', reason, lasts };
}
