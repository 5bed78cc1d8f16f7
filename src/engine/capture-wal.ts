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
import { pageChecksum } from '../kernels/checksum.ts';
import { SHARED_FIRST, SHARED_SIZE } from '../sqlite/locks.ts';
import { frameOffset, WAL_FRAME_HEADER_BYTES, WAL_HEADER_BYTES } from '../sqlite/wal.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { OpenWouldBlock } from './files.ts';
import type { Task } from './scheduler.ts';
import { TransactionWriter } from './transaction-writer.ts';
import {
  atStart,
  begins,
  isNextGeneration,
  NOT_FOLLOWED,
  nextStep,
  settledAt,
  type WalFileHeader,
  type WalFollowed,
} from './wal-follow.ts';
import { readWalIndex, type WalIndexView } from './wal-index-file.ts';
import { pagesToWrite, readUnwrittenPage, writePage } from './wal-pages.ts';
import {
  readFrameHeader,
  readWalFileHeader,
  type ScannedFrames,
  scanChain,
  scanFrames,
} from './wal-scan.ts';

/** captured: how many commits; lost: what was committed cannot be told, and only a comparison helps. */
export type WalCaptureResult =
  | { readonly kind: 'captured'; readonly commits: number }
  | { readonly kind: 'lost'; readonly reason: string };

/** An operation of an application that is held back until what it ends is captured. */
export type HeldOperation = 'header-sync' | 'truncate' | 'remove-shm' | 'remove-wal';

const RETRIES = 8;
/** A writer that the system stops between the two copies of the header goes on when it gets a processor again. */
const UNSTABLE_REST_MS = 1;
const UNSTABLE_RESTS_MAX = 200;
const PAGES_PER_STEP = 256;

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
      isFirstGeneration: header !== undefined && mayBeFirst(ctx, db, header),
      isEndHeld: db.wal.guard.holdsEnd,
    });
    switch (step.kind) {
      case 'nothing':
      case 'wait':
        return captured(0);
      case 'unknown':
        db.wal.isUnsynced ||= step.isUnsynced;
        return lost(step.reason);
      case 'ended': {
        const result = yield* captureEnded(ctx, db, index);
        if (result !== 'moved') return result;
        break;
      }
      case 'frames': {
        db.wal.isUnsynced ||=
          step.generation.bytes !== followed.generation?.bytes &&
          step.generation.bytes !== followed.announced;
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
      return (yield* stableIndexSays(db, (index) => index.mxFrame > 0))
        ? yield* captureWal(ctx, db)
        : yield* captureRest(ctx, db);
    default:
      return yield* atRemoval(ctx, db);
  }
}

/** All that was committed before the held operation is captured, or will be by a comparison: where the -wal stands then. */
export function* endHeld(ctx: EngineContext, db: Database, operation: HeldOperation): Task<void> {
  const header = readWalFileHeader(db);
  switch (operation) {
    case 'header-sync': {
      const isKnown = db.wal.followed.generation?.bytes === header?.bytes;
      if (!header || isKnown) return;
      if (yield* stableIndexSays(db, (index) => index.mxFrame > 0)) return;
      setFollowed(db, settledAt(header, header.bytes));
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
      setFollowed(db, settledAt(header));
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
  const isKnown = generation?.bytes === header.bytes || followed.announced === header.bytes;
  // A sync of what has been written for long: the mount has not seen one before.
  if (isKnown || (index !== 'unused' && index.mxFrame > 0)) return yield* captureWal(ctx, db);
  if (generation ?? settled) {
    const seen = index === 'unused' ? undefined : index;
    if (!isNextGeneration(followed, header, seen)) return lost('generations of the -wal went by');
    return generation ? yield* captureStill(ctx, db, generation) : captured(0);
  }
  if (db.files.size('wal') === WAL_HEADER_BYTES || mayBeFirst(ctx, db, header)) return captured(0);
  return lost('generations of the -wal went by');
}

/** The last connection closes, and has checkpointed everything under an EXCLUSIVE lock. */
function* atRemoval(ctx: EngineContext, db: Database): Task<WalCaptureResult> {
  const isExclusive = isHeldExclusively(db);
  // Not by SQLite: what its connections see can still be told, what comes of it cannot.
  if (isExclusive !== true) db.suspect = true;
  return isExclusive === false ? yield* captureWal(ctx, db) : yield* captureRest(ctx, db);
}

/** Whether a connection has the database file to itself; undefined when that cannot be told, as the file is not open. */
export function isHeldExclusively(db: Database): boolean | undefined {
  try {
    return !db.files.couldLock('db', 'read', SHARED_FIRST, SHARED_SIZE);
  } catch (error) {
    if (error instanceof OpenWouldBlock) return undefined;
    throw error;
  }
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
  if (begins(followed, header, mayBeFirst(ctx, db, header))) setFollowed(db, atStart(header));
  const { generation, settled } = db.wal.followed;
  if (generation?.bytes === header.bytes) return yield* captureStill(ctx, db, generation);
  if (!generation && settled?.bytes === header.bytes) return captured(0);
  return lost('the -wal was started over before it was captured');
}

/**
 * The index says that the -wal is to be started over, which nobody has done yet. As long as it does, the database file is
 * not written.
 */
function* captureEnded(
  ctx: EngineContext,
  db: Database,
  index: WalIndexView,
): Task<WalCaptureResult | 'moved'> {
  const { generation } = db.wal.followed;
  if (!generation) return 'moved';
  const result = yield* captureFile(ctx, db, generation, () => {
    const now = readWalIndex(db.files);
    const isStill = typeof now === 'object' && now.mxFrame === 0 && now.salt1 === index.salt1;
    return isStill && readWalFileHeader(db)?.bytes === generation.bytes;
  });
  if (result === 'moved' || result.kind === 'lost') return result;
  setFollowed(db, settledAt(generation));
  return result;
}

/**
 * Captures the database file in the pages that the rest of the -wal names, behind what was captured of it. `holds`: whether
 * what was read is still true; asked at the end.
 */
function* captureFile(
  ctx: EngineContext,
  db: Database,
  generation: WalFileHeader,
  holds: () => boolean,
): Task<WalCaptureResult | 'moved'> {
  const { pageSize } = generation;
  const rest = yield* scanFrames(db, generation, db.wal.followed.frame);
  const bytes = db.files.size('db');
  if (bytes % pageSize !== 0) return lost('the database file is not of whole pages');
  const commit = bytes / pageSize;
  if (rest.frames.size === 0 && commit === db.pageCount) return holds() ? captured(0) : 'moved';
  const writer = beginEntry(ctx, db, generation, rest, commit);
  try {
    const page = Buffer.allocUnsafeSlow(pageSize);
    const isSameSize = db.pageSize === pageSize;
    let seen = 0;
    for (const pgno of pagesToWrite(db, { pageSize, frames: rest.frames, commit })) {
      db.files.read('db', page, (pgno - 1) * pageSize);
      const sum = pageChecksum(pgno, page);
      if (!isSameSize || pgno > db.pageCount || sum !== db.sums.get(pgno)) {
        writer.page(pgno, page, sum);
      }
      if (++seen % PAGES_PER_STEP === 0) yield;
    }
    if (!holds()) {
      writer.abort();
      return 'moved';
    }
    if (writer.pageCount === 0 && commit === db.pageCount) {
      writer.abort();
      return captured(0);
    }
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
  return captured(Math.max(1, rest.commits));
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
  if (begins(db.wal.followed, header, mayBeFirst(ctx, db, header)))
    setFollowed(db, atStart(header));
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
    return isSame ? captured(0) : lost('the end of the -wal was written over');
  }
  for (const [pgno, at] of chain.frames) if (at <= followed.frame) chain.frames.delete(pgno);
  const scanned: ScannedFrames = {
    frames: chain.frames,
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

/** Writes frames as one entry, and moves on behind them. moved: they were written over while they were read. */
function* captureScanned(
  ctx: EngineContext,
  db: Database,
  from: WalFollowed,
  generation: WalFileHeader,
  scanned: ScannedFrames,
  end: Pick<WalFollowed, 'checksum1' | 'checksum2' | 'isChained'>,
): Task<WalCaptureResult | 'moved'> {
  const { pageSize } = generation;
  const frameBytes = pageSize + WAL_FRAME_HEADER_BYTES;
  const { frames, last, commit, bytes } = scanned;
  if (from.frame === 0) db.wal.frames.clear();
  const writer = beginEntry(ctx, db, generation, scanned, commit);
  try {
    const page = Buffer.allocUnsafe(pageSize);
    let seen = 0;
    for (const pgno of pagesToWrite(db, { pageSize, frames, commit })) {
      const frame = frames.get(pgno);
      if (frame !== undefined && bytes) {
        const at = (frame - from.frame - 1) * frameBytes + WAL_FRAME_HEADER_BYTES;
        writePage(db, writer, pgno, bytes.subarray(at, at + pageSize));
        continue;
      }
      if (frame === undefined) readUnwrittenPage(db, pgno, page);
      else db.files.read('wal', page, frameOffset(frame, pageSize) + WAL_FRAME_HEADER_BYTES);
      writePage(db, writer, pgno, page);
      if (!bytes && ++seen % PAGES_PER_STEP === 0) yield;
    }
    // A new generation writes its header before it writes over a frame.
    const frameHeader = readFrameHeader(db, last, pageSize);
    if (readWalFileHeader(db)?.bytes !== generation.bytes) {
      writer.abort();
      return 'moved';
    }
    writer.finish();
    for (const [pgno, frame] of frames) if (pgno <= commit) db.wal.frames.set(pgno, frame);
    setFollowed(db, { ...from, ...end, generation, frame: last, frameHeader });
  } catch (error) {
    writer.abort();
    throw error;
  }
  return captured(scanned.commits);
}

function beginEntry(
  ctx: EngineContext,
  db: Database,
  generation: WalFileHeader,
  { last, commits }: ScannedFrames,
  commit: number,
): TransactionWriter {
  const { pageSize, salt1, salt2 } = generation;
  const { frame } = db.wal.followed;
  return new TransactionWriter(ctx, db, {
    ...db.nextHeader({
      pageSize,
      commit,
      transactions: Math.max(1, commits),
      timestampMs: ctx.wallClockMs(),
      nodeId: ctx.nodeId,
    }),
    walOffset: frameOffset(frame + 1, pageSize),
    walSize: (last - frame) * (pageSize + WAL_FRAME_HEADER_BYTES),
    walSalt1: salt1,
    walSalt2: salt2,
  });
}

/** Where the -wal stands from now on. */
export function setFollowed(db: Database, followed: WalFollowed): void {
  const { wal } = db;
  wal.followed = followed;
  const { generation, frame, checksum1, checksum2 } = followed;
  if (!generation) {
    wal.cursor = undefined;
    wal.frames.clear();
    return;
  }
  const { pageSize, bigEndian, salt1, salt2 } = generation;
  wal.cursor = { pageSize, bigEndian, salt1, salt2, frame, checksum1, checksum2 };
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
function mayBeFirst(ctx: EngineContext, db: Database, header: WalFileHeader): boolean {
  const { generation, settled, announced } = db.wal.followed;
  if (generation || settled || announced === header.bytes) return false;
  // Drained now: what was written until we read the header is among the events.
  ctx.drainEvents();
  return db.writes.isFirstGeneration;
}

function* stableIndexSays(db: Database, what: (index: WalIndexView) => boolean): Task<boolean> {
  const index = yield* stableIndex(db);
  return typeof index === 'object' && what(index);
}

/** The wal-index as a writer leaves it; 'unstable' for one that does not get there: most likely it has died. */
function* stableIndex(db: Database): Task<ReturnType<typeof readWalIndex>> {
  for (let rests = 0; rests < UNSTABLE_RESTS_MAX; rests++) {
    const index = readWalIndex(db.files);
    if (index !== 'unstable') return index;
    yield UNSTABLE_REST_MS;
  }
  return readWalIndex(db.files);
}

function captured(commits: number): WalCaptureResult {
  return { kind: 'captured', commits };
}

function lost(reason: string): WalCaptureResult {
  return { kind: 'lost', reason };
}
