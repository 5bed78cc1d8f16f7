/**
 * Capture of a database in WAL mode: follows the -wal from commit to commit, as its readers see them.
 *
 * What is committed is what the wal-index says (wal-follow.ts). Without one (locking_mode=EXCLUSIVE keeps it in the
 * memory of the application) the chain of checksums counts, as for SQLite's own recovery.
 *
 * A writer starts the -wal over only when all of it is in the database file. Around that there are moments at which the
 * database file is the whole truth, and is not written: the first fsync of the new header, the cut of the -wal, and the removal
 * of -wal and -shm, which the mount holds back until we have looked. What is captured then is the content of the file, in
 * the pages that the uncaptured rest of the -wal names.
 */
import { isDeepStrictEqual } from 'node:util';
import { WAL_HEADER_BYTES } from '../../sqlite/wal.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import type { Task } from '../tasks/scheduler.ts';
import { isHeldExclusively, MAY_SEE_MORE, maySeeMore } from '../wal/lock-looks.ts';
import {
  atStart,
  begins,
  isNextGeneration,
  NOT_FOLLOWED,
  nextStep,
  settledAt,
  type WalFileHeader,
  type WalFollowed,
} from '../wal/wal-follow.ts';
import { readWalIndex, type WalIndexView } from '../wal/wal-index-file.ts';
import {
  keepsFramesOf,
  readFrameHeader,
  readWalFileHeader,
  type ScannedFrames,
  scanChain,
  scanFrames,
} from '../wal/wal-scan.ts';
import {
  captured,
  captureFile,
  captureScanned,
  lost,
  setFollowed,
  type WalCaptureResult,
} from './wal-entries.ts';

/** An operation of an application that is held back until what it ends is captured. */
export type HeldOperation = 'header-sync' | 'truncate' | 'remove-shm' | 'remove-wal';

const RETRIES = 8;
/** A writer that the system stops between the two copies of the header goes on when it gets a processor again. */
const UNSTABLE_REST_MS = 1;
const UNSTABLE_RESTS_MAX = 200;
/** Then it is no writer, but a connection that recovers the index: our read mark must not be in its way. */
const UNSTABLE_RESTS_MARKED = 5;

/**
 * Captures everything that is committed when it begins, and maybe more: not until nothing comes any more, since a busy
 * writer never lets that happen.
 */
export function* captureWal(ctx: EngineContext, db: Database): Task<WalCaptureResult> {
  for (let attempt = 0; attempt < RETRIES; attempt++) {
    // The index first: a header that is read after it is not older.
    const index = yield* stableIndex(db);
    if (index === 'unstable') break;
    if (index === 'unused') return yield* captureChain(ctx, db);
    const { followed } = db.wal;
    const header = readWalFileHeader(db);
    const step = nextStep(followed, {
      header,
      index,
      frameHeader: header ? readFrameHeader(db, followed.frame, header.pageSize) : '',
      isFirstGeneration: header !== undefined && mayBeFirst(ctx, db),
      isEndHeld: db.wal.guard.holdsEnd(ctx, db),
    });
    switch (step.kind) {
      case 'nothing':
        return captured(0);
      case 'unknown':
        // The header was read after the index: a restart may lie between them.
        if (!isDeepStrictEqual(readWalIndex(db.files), index)) break;
        db.wal.isUnsynced ||= step.isUnsynced;
        return lost(step.reason);
      case 'ended': {
        const result = yield* captureEnded(ctx, db, index, step.next);
        if (result !== 'moved') return result;
        break;
      }
      case 'frames': {
        db.wal.isUnsynced ||= step.generation.bytes !== followed.generation?.bytes;
        const result = yield* captureFrames(ctx, db, step, index);
        if (result !== 'moved') return result;
        break;
      }
    }
    yield;
  }
  return lost('the -wal does not agree with its index');
}

/**
 * The same while an operation is held back that ends the life of what is in the -wal. endHeld() comes afterwards, whatever
 * became of it.
 */
export function* captureHeld(
  ctx: EngineContext,
  db: Database,
  operation: HeldOperation,
): Task<WalCaptureResult> {
  switch (operation) {
    case 'header-sync':
      return yield* atHeaderSync(ctx, db);
    case 'truncate':
      // A checkpoint cuts the -wal when the index says already that nothing is in it.
      return (yield* hasPublishedFrames(db))
        ? yield* captureWal(ctx, db)
        : yield* captureRest(ctx, db);
    default:
      return yield* atRemoval(ctx, db);
  }
}

/** All that was committed before the held operation is captured, or will be by a comparison: where the -wal stands then. */
export function* endHeld(ctx: EngineContext, db: Database, operation: HeldOperation): Task<void> {
  switch (operation) {
    case 'header-sync': {
      const index = yield* stableIndex(db);
      const header = readWalFileHeader(db);
      const isKnown = db.wal.followed.generation?.bytes === header?.bytes;
      if (!header || index === 'unstable') return;
      if (index === 'unused' ? isKnown : index.mxFrame > 0) return;
      if (!isKnown) setFollowed(db, atStart(header, index === 'unused' ? undefined : index.salt1));
      db.wal.isUnsynced = false;
      return;
    }
    case 'truncate':
    case 'remove-wal':
      setFollowed(db, NOT_FOLLOWED);
      if (operation === 'remove-wal') db.wal.isUnsynced = false;
      // What a checkpoint has written before this is not to count for what comes after it.
      ctx.drainEvents();
      db.writes.walEmptied();
      return;
    case 'remove-shm':
      setFollowed(db, settledAt(readWalFileHeader(db)));
  }
}

/** A -wal was started over, and its header is about to be synced: nothing was committed behind it. */
function* atHeaderSync(ctx: EngineContext, db: Database): Task<WalCaptureResult> {
  const index = yield* stableIndex(db);
  if (index === 'unstable') return lost('the wal-index is not whole');
  const header = readWalFileHeader(db);
  if (!header) return captured(0);
  const { followed } = db.wal;
  const { generation, settled } = followed;
  const isKnown = generation?.bytes === header.bytes;
  // A sync of what has been written for long: the mount has not seen one before.
  if (isKnown || (index !== 'unused' && index.mxFrame > 0)) return yield* captureWal(ctx, db);
  if (generation ?? settled) {
    const seen = index === 'unused' ? undefined : index;
    if (!isNextGeneration(followed, header, seen)) return lost('generations of the -wal went by');
    return generation ? yield* captureStill(ctx, db, generation) : captured(0);
  }
  if (db.files.size('wal') === WAL_HEADER_BYTES || mayBeFirst(ctx, db)) return captured(0);
  return lost('generations of the -wal went by');
}

/** The last connection closes, and has checkpointed everything under an EXCLUSIVE lock. */
function* atRemoval(ctx: EngineContext, db: Database): Task<WalCaptureResult> {
  if (isHeldExclusively(db.files) === true) return yield* captureRest(ctx, db);
  // Not by SQLite: what its connections see can still be told, what comes of it cannot.
  db.suspicion = 'its -wal or -shm was removed while it was in use';
  return yield* captureWal(ctx, db);
}

/** The database file has everything of a generation, and is not written as long as the operation is held back. */
function* captureStill(
  ctx: EngineContext,
  db: Database,
  generation: WalFileHeader,
): Task<WalCaptureResult> {
  const result = yield* captureFile(ctx, db, generation, () => true);
  return result === 'moved' ? lost('the -wal was started over') : result;
}

/** All that is in the -wal is in the database file, which nobody writes now. */
function* captureRest(ctx: EngineContext, db: Database): Task<WalCaptureResult> {
  const { followed } = db.wal;
  const header = readWalFileHeader(db);
  if (!header) {
    return followed.generation ? lost('the -wal was emptied before it was captured') : captured(0);
  }
  if (begins(followed, mayBeFirst(ctx, db))) setFollowed(db, atStart(header));
  const { generation, settled } = db.wal.followed;
  if (generation?.bytes === header.bytes) return yield* captureStill(ctx, db, generation);
  if (!generation && settled?.bytes === header.bytes) return captured(0);
  return lost('the -wal was started over before it was captured');
}

/**
 * The index says that the -wal is to be started over, and no commit has come since. As long as it does, the database file is
 * not written.
 */
function* captureEnded(
  ctx: EngineContext,
  db: Database,
  index: WalIndexView,
  next: WalFileHeader | undefined,
): Task<WalCaptureResult | 'moved'> {
  const { generation } = db.wal.followed;
  if (!generation) return 'moved';
  const header = next ?? generation;
  if (next && !keepsFramesOf(db, generation)) {
    // Its header was not synced before its first frame was written.
    db.wal.isUnsynced = true;
    return lost('the end of the -wal was written over');
  }
  const result = yield* captureFile(ctx, db, generation, () => {
    const now = readWalIndex(db.files);
    const isStill = typeof now === 'object' && now.mxFrame === 0 && now.salt1 === index.salt1;
    return isStill && readWalFileHeader(db)?.bytes === header.bytes;
  });
  if (result === 'moved' || result.kind === 'lost') return result;
  setFollowed(db, next ? atStart(next, index.salt1) : settledAt(generation));
  return result;
}

/** Committed frames that the index tells of. */
function* captureFrames(
  ctx: EngineContext,
  db: Database,
  { from, generation }: { from: WalFollowed; generation: WalFileHeader },
  index: WalIndexView,
): Task<WalCaptureResult | 'moved'> {
  const scanned = yield* scanFrames(db, generation, from.frame, index.mxFrame);
  const isWhole =
    scanned.last === index.mxFrame && scanned.endsWithCommit && scanned.commit === index.pageCount;
  if (!isWhole) return 'moved';
  const { frameChecksum1, frameChecksum2 } = index;
  return yield* captureScanned(ctx, db, from, generation, scanned, {
    checksum1: frameChecksum1,
    checksum2: frameChecksum2,
    isChained: false,
  });
}

/**
 * Nobody uses the -shm: the application keeps the index in its memory, or has died. What is committed is what the next one to
 * open the database would find.
 */
function* captureChain(ctx: EngineContext, db: Database): Task<WalCaptureResult> {
  const header = readWalFileHeader(db);
  const { generation, settled } = db.wal.followed;
  if (!header) return generation ? lost('the -wal went away uncaptured') : captured(0);
  if (begins(db.wal.followed, mayBeFirst(ctx, db))) setFollowed(db, atStart(header));
  const { followed } = db.wal;
  if (followed.generation?.bytes !== header.bytes) {
    if (!generation && settled?.bytes === header.bytes) return captured(0);
    return lost('a generation of the -wal began unseen');
  }
  // What was captured by the index says nothing of the chain, which may be shorter.
  const start = followed.isChained ? followed : atStart(header);
  const { bigEndian, pageSize, salt1, salt2 } = header;
  const { frame, checksum1, checksum2 } = start;
  const chain = yield* scanChain(db, {
    ...{ bigEndian, pageSize, salt1, salt2 },
    ...{ frame, checksum1, checksum2 },
  });
  const { cursor } = chain;
  if (cursor.frame < followed.frame) return lost('the -wal is shorter than what was captured');
  if (cursor.frame === followed.frame) {
    const isSame =
      cursor.checksum1 === followed.checksum1 && cursor.checksum2 === followed.checksum2;
    if (!isSame) return lost('the end of the -wal was written over');
    return (yield* maySeeMore(db, header, cursor.frame))
      ? { kind: 'unsure', reason: MAY_SEE_MORE }
      : captured(0);
  }
  for (const [pgno, at] of chain.frames) if (at <= followed.frame) chain.frames.delete(pgno);
  const scanned: ScannedFrames = {
    frames: chain.frames,
    after: followed.frame,
    last: cursor.frame,
    commits: chain.commits,
    commit: chain.commit,
    endsWithCommit: true,
    bytes: undefined,
  };
  const result = yield* captureScanned(ctx, db, followed, header, scanned, {
    checksum1: cursor.checksum1,
    checksum2: cursor.checksum2,
    isChained: true,
  });
  return result === 'moved' ? lost('the -wal was written over while it was read') : result;
}

/** What we have appended to the -wal ourselves, up to db.wal.cursor, is captured. */
export function followAppended(db: Database): void {
  const { cursor } = db.wal;
  const generation = readWalFileHeader(db);
  if (!cursor || !generation) return;
  const { frame, checksum1, checksum2 } = cursor;
  const frameHeader = readFrameHeader(db, frame, cursor.pageSize);
  db.wal.followed = { ...atStart(generation), frame, frameHeader, checksum1, checksum2 };
}

/** Whether the events say that the -wal has had no other generation. Asked only when nothing else tells of its beginning. */
function mayBeFirst(ctx: EngineContext, db: Database): boolean {
  const { generation, settled } = db.wal.followed;
  if (generation || settled) return false;
  // Drained now: what was written until we read the header is among the events.
  ctx.drainEvents();
  return db.writes.isFirstGeneration;
}

function* hasPublishedFrames(db: Database): Task<boolean> {
  const index = yield* stableIndex(db);
  return typeof index === 'object' && index.mxFrame > 0;
}

/** The wal-index as a writer leaves it; 'unstable' for one that does not get there: most likely it has died. */
function* stableIndex(db: Database): Task<ReturnType<typeof readWalIndex>> {
  for (let rests = 0; rests < UNSTABLE_RESTS_MAX; rests++) {
    const index = readWalIndex(db.files);
    if (index !== 'unstable') return index;
    if (rests === UNSTABLE_RESTS_MARKED) db.wal.guard.release(db);
    yield UNSTABLE_REST_MS;
  }
  return readWalIndex(db.files);
}
