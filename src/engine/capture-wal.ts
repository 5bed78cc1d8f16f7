/**
 * Capture of a database in WAL mode: follows the -wal from commit to commit.
 *
 * What is committed is what the wal-index says: mxFrame of its header. (A valid commit frame past it is
 * not a commit yet: its writer may die before publishing it, and the next writer overwrites it.)
 * Without a wal-index (locking_mode=EXCLUSIVE keeps it in the app's memory) the last valid commit frame counts.
 *
 * A writer may start the -wal over at its beginning when everything in it is in the database file. Nothing of
 * the old generation is lost then:
 * - under synchronous=NORMAL and FULL the writer syncs the new -wal header before it writes a frame; that
 *   fsync is held back (see mount/sqlite-policy.ts) until the old generation is captured;
 * - under synchronous=OFF the frames past the captured ones stay in the file until the new generation
 *   has grown over them, and are read from there, and compared with the database file;
 * - should even that fail, `lost` is returned and the caller compares every page (diff.ts).
 *
 * Generations may come and go between two looks (synchronous=OFF, small wal_autocheckpoint). That none was missed
 * is told by the salts: each generation's first salt is one more than the last one's, and nextSalt1 remembers
 * it while no generation is followed. A -wal that was made anew has salts at random but sequence number 0;
 * nothing comes before it that was not captured, since we hold back the end of its predecessor.
 */
import { pageChecksum } from '../kernels/checksum.ts';
import {
  frameOffset,
  parseWalHeader,
  readFrames,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  type WalCursor,
  type WalHeader,
  walCursorAtStart,
} from '../sqlite/wal.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import type { Task } from './scheduler.ts';
import { TransactionWriter } from './transaction-writer.ts';
import { readWalIndex, type WalIndexView } from './wal-index-file.ts';

/** captured: how many commits; lost: the chain is broken and only a comparison helps. */
export type WalCaptureResult =
  | { readonly kind: 'captured'; readonly commits: number }
  | { readonly kind: 'lost'; readonly reason: string };

const OVERWRITTEN: WalCaptureResult = {
  kind: 'lost',
  reason: 'the -wal was overwritten before it was captured',
};

/** Bytes of the -wal read at once: also what a task does between two yields. */
const CHUNK_BYTES = 1 << 20;
const RETRIES = 8;
/** A writer that the system stops between the two copies of the header goes on when it gets a processor again. */
const UNSTABLE_REST_MS = 1;
const UNSTABLE_RESTS_MAX = 200;

const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES + 65536 + WAL_FRAME_HEADER_BYTES);
const headerBytes = Buffer.alloc(WAL_HEADER_BYTES);

/**
 * Captures everything that is committed when it begins, and maybe more: not until nothing comes any more, since a busy
 * writer never lets that happen. One entry for each generation.
 */
export function* captureWal(ctx: EngineContext, db: Database): Task<WalCaptureResult> {
  let commits = 0;
  for (let attempt = 0; attempt < RETRIES; attempt++) {
    // The index first: a -wal that is empty after that had not begun the generation that it announces.
    const index = yield* stableIndex(db);
    if (index === 'unstable') break;
    const walHeader = readWalHeader(db);
    if (!walHeader) {
      forgetGeneration(db, index?.salt1);
      return { kind: 'captured', commits };
    }
    if (!db.wal.cursor) {
      const first = firstLook(db, walHeader, index);
      if (first === 'nothing') return { kind: 'captured', commits };
      if (first === 'lost') return { kind: 'lost', reason: 'a -wal came and went unseen' };
      if (first === 'retry') {
        db.files.close('wal');
        yield;
        continue;
      }
      db.wal.cursor = first;
    }
    const { cursor } = db.wal;
    const salts = index ?? walHeader;
    if (!sameSalts(cursor, salts)) {
      const tail = yield* captureOldGeneration(ctx, db, cursor, salts);
      if (tail.kind === 'lost') return tail;
      commits += tail.commits;
      continue;
    }
    if (index && index.mxFrame === cursor.frame) return { kind: 'captured', commits };
    if (index && index.mxFrame < cursor.frame) {
      return { kind: 'lost', reason: 'the -wal is shorter than what was captured from it' };
    }
    const batch = yield* readBatch(db, cursor, index);
    if (!batch) {
      if (!index) return { kind: 'captured', commits };
      yield;
      continue;
    }
    const written = yield* writeBatch(ctx, db, batch);
    if (written === 'overwritten') return OVERWRITTEN;
    return { kind: 'captured', commits: commits + written };
  }
  return { kind: 'lost', reason: 'the -wal does not agree with its index' };
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

/**
 * No generation is followed: where to begin with the one in the -wal. nothing: there is no new one yet;
 * retry: it is newer than the header that we have read; lost: there were others before it.
 */
function firstLook(
  db: Database,
  header: WalHeader,
  index: WalIndexView | undefined,
): WalCursor | 'nothing' | 'retry' | 'lost' {
  const { nextSalt1 } = db.wal;
  if (index && !sameSalts(header, index)) {
    if (index.mxFrame > 0) return 'retry';
    // Announced, but not written: what is in the -wal has been captured.
    if (index.salt1 === nextSalt1) return 'nothing';
    if (index.salt1 !== nextSalt(header)) {
      // Either a first generation that its writer has not published yet, or a riddle.
      return header.checkpointSequence === 0 ? 'nothing' : 'lost';
    }
  }
  const follows = header.checkpointSequence === 0 || header.salt1 === nextSalt1;
  return follows ? walCursorAtStart(header) : 'lost';
}

/** All of the generation is captured. `announced`: the first salt of the next one, where an index tells. */
function forgetGeneration(db: Database, announced: number | undefined): void {
  const { cursor, nextSalt1 } = db.wal;
  const next = announced ?? (cursor ? nextSalt(cursor) : nextSalt1);
  db.forgetWal();
  db.wal.nextSalt1 = next;
}

interface Salts {
  readonly salt1: number;
  readonly salt2: number;
}

function sameSalts(a: Salts, b: Salts): boolean {
  return a.salt1 === b.salt1 && a.salt2 === b.salt2;
}

function nextSalt({ salt1 }: Salts): number {
  return (salt1 + 1) >>> 0;
}

interface Batch {
  /** Cursor behind the last frame of the batch. */
  readonly end: WalCursor;
  readonly start: WalCursor;
  /** The newest frame of each page. */
  readonly frames: Map<number, number>;
  readonly commits: number;
  /** Size of the database after it, in pages. */
  readonly commit: number;
  /** The frames, when they fit in one chunk; frame numbers count from start.frame + 1. */
  readonly bytes: Uint8Array | undefined;
}

/**
 * Reads and verifies the frames from a cursor to mxFrame, or without an index to the last valid commit.
 * undefined when there is nothing to commit, or when the frames are not (yet, any more) what the index says.
 */
function* readBatch(
  db: Database,
  from: WalCursor,
  index: WalIndexView | undefined,
): Task<Batch | undefined> {
  const frameBytes = from.pageSize + WAL_FRAME_HEADER_BYTES;
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / frameBytes));
  const mxFrame = index ? index.mxFrame : Number.MAX_SAFE_INTEGER;
  let cursor = from;
  const frames = new Map<number, number>();
  /** Pages of the frames since the last commit frame: only a commit makes them count. */
  const open: number[] = [];
  let end: WalCursor | undefined;
  let commits = 0;
  let commit = 0;
  let chunks = 0;
  while (cursor.frame < mxFrame) {
    const count = Math.min(perChunk, mxFrame - cursor.frame);
    const into = chunk.subarray(0, count * frameBytes);
    const bytes = db.files.read('wal', into, frameOffset(cursor.frame + 1, cursor.pageSize));
    const whole = Math.floor(bytes / frameBytes) * frameBytes;
    chunks++;
    const before = cursor.frame;
    let committedAt = 0;
    const next = { ...cursor };
    const valid = readFrames(next, into.subarray(0, whole), (frame, pgno, commitPages) => {
      open.push(pgno);
      if (commitPages === 0) return;
      const first = frame - open.length + 1;
      for (let i = 0; i < open.length; i++) frames.set(open[i], first + i);
      open.length = 0;
      commits++;
      commit = commitPages;
      committedAt = frame;
    });
    cursor = next;
    if (committedAt === cursor.frame && committedAt > before) end = cursor;
    else if (committedAt > before) {
      // Without an index the cursor must stand behind a commit: verify up to there once more.
      const upTo = { ...cursor, frame: before, ...checksumsBefore(db, before, from) };
      readFrames(upTo, into.subarray(0, (committedAt - before) * frameBytes), () => {});
      end = upTo;
    }
    if (valid < count) break;
    if (cursor.frame < mxFrame) yield;
  }
  if (!end || commits === 0) return undefined;
  if (index) {
    const agrees =
      end.frame === index.mxFrame &&
      end.checksum1 === index.frameChecksum1 &&
      end.checksum2 === index.frameChecksum2;
    if (!agrees) return undefined;
  }
  for (const page of frames.keys()) if (page > commit) frames.delete(page);
  return {
    start: from,
    end,
    frames,
    commits,
    commit,
    bytes: chunks === 1 ? chunk.subarray(0, (end.frame - from.frame) * frameBytes) : undefined,
  };
}

/** The running checksum behind a frame: it is in that frame's header. */
function checksumsBefore(
  db: Database,
  frame: number,
  from: WalCursor,
): { checksum1: number; checksum2: number } {
  if (frame === from.frame) return { checksum1: from.checksum1, checksum2: from.checksum2 };
  const header = Buffer.alloc(WAL_FRAME_HEADER_BYTES);
  db.files.read('wal', header, frameOffset(frame, from.pageSize));
  return { checksum1: header.readUInt32BE(16), checksum2: header.readUInt32BE(20) };
}

/**
 * Writes a batch as one entry and moves the cursor behind it. Returns the number of commits. What is read from the
 * -wal here, and not for the first time, must still be there: under synchronous=OFF a new generation may have begun.
 */
function* writeBatch(ctx: EngineContext, db: Database, batch: Batch): Task<number | 'overwritten'> {
  const { start, end } = batch;
  const { pageSize } = start;
  const frameBytes = pageSize + WAL_FRAME_HEADER_BYTES;
  const header = {
    ...db.nextHeader({
      pageSize,
      commit: batch.commit,
      transactions: batch.commits,
      timestampMs: ctx.wallClockMs(),
      nodeId: ctx.nodeId,
    }),
    walOffset: frameOffset(start.frame + 1, pageSize),
    walSize: (end.frame - start.frame) * frameBytes,
    walSalt1: end.salt1,
    walSalt2: end.salt2,
  };
  const writer = new TransactionWriter(ctx, db, header);
  const page = batch.bytes ? undefined : Buffer.allocUnsafeSlow(pageSize);
  let readsAgain = page !== undefined;
  let seen = 0;
  try {
    for (const pgno of pagesToWrite(db, batch)) {
      const frame = batch.frames.get(pgno);
      if (frame !== undefined && batch.bytes) {
        const at = (frame - start.frame - 1) * frameBytes + WAL_FRAME_HEADER_BYTES;
        writePage(db, writer, pgno, batch.bytes.subarray(at, at + pageSize));
        continue;
      }
      const data = page ?? Buffer.allocUnsafe(pageSize);
      if (frame === undefined) {
        readUnwrittenPage(db, pgno, data);
        readsAgain = true;
      } else {
        db.files.read('wal', data, frameOffset(frame, pageSize) + WAL_FRAME_HEADER_BYTES);
      }
      writePage(db, writer, pgno, data);
      if (page && ++seen % 256 === 0) yield;
    }
    if (readsAgain && !isStillThere(db, start)) {
      writer.abort();
      return 'overwritten';
    }
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
  if (start.frame === 0) db.wal.frames.clear();
  for (const [pgno, frame] of batch.frames) db.wal.frames.set(pgno, frame);
  db.wal.cursor = end;
  return batch.commits;
}

/** Leaves out a page that is what it was, as most are when a copy is restored over a database; never the first one. */
export function writePage(
  db: Database,
  writer: TransactionWriter,
  pgno: number,
  data: Uint8Array,
): void {
  const sum = pageChecksum(pgno, data);
  const isKnown = db.pageSize === data.length && pgno <= db.pageCount;
  if (isKnown && writer.pageCount > 0 && sum === db.sums.get(pgno)) return;
  writer.page(pgno, data, sum);
}

/**
 * The page numbers of a batch, ascending. Pages that the database has grown by and that no frame holds
 * (allocated and freed in one transaction) belong to it too.
 */
export function pagesToWrite(
  db: Database,
  batch: Pick<Batch, 'frames' | 'commit'> & { readonly start: { readonly pageSize: number } },
): number[] {
  const pages = [...batch.frames.keys()];
  const grownFrom = db.pageSize === batch.start.pageSize ? db.pageCount : 0;
  for (let pgno = grownFrom + 1; pgno <= batch.commit; pgno++) {
    if (!batch.frames.has(pgno)) pages.push(pgno);
  }
  return pages.sort((a, b) => a - b);
}

/** What a reader sees in a page that the batch did not write: an older frame, the file, or zeros. */
export function readUnwrittenPage(db: Database, pgno: number, into: Buffer): void {
  into.fill(0);
  const frame = db.wal.frames.get(pgno);
  if (frame !== undefined) {
    db.files.read('wal', into, frameOffset(frame, into.length) + WAL_FRAME_HEADER_BYTES);
  } else {
    db.files.read('db', into, (pgno - 1) * into.length);
  }
}

/**
 * The -wal has been started over (or is about to be): captures what the old generation still holds past the
 * cursor, then forgets it.
 */
function* captureOldGeneration(
  ctx: EngineContext,
  db: Database,
  cursor: WalCursor,
  now: Salts,
): Task<WalCaptureResult> {
  if (now.salt1 !== nextSalt(cursor)) {
    return { kind: 'lost', reason: 'the -wal was started over more than once' };
  }
  const tail = yield* readBatch(db, cursor, undefined);
  if (!isIntact(db, cursor)) return OVERWRITTEN;
  let commits = 0;
  if (tail) {
    if (!isInDatabase(db, tail)) {
      return { kind: 'lost', reason: 'the end of the -wal is not what the database holds' };
    }
    const written = yield* writeBatch(ctx, db, tail);
    if (written === 'overwritten') return OVERWRITTEN;
    commits = written;
  }
  forgetGeneration(db, now.salt1);
  return { kind: 'captured', commits };
}

/** Whether the frame behind the cursor has not been overwritten by the new generation. */
function isIntact(db: Database, cursor: WalCursor): boolean {
  const header = readWalHeader(db);
  if (header && sameSalts(header, cursor)) return true;
  const frame = Buffer.alloc(WAL_FRAME_HEADER_BYTES);
  const read = db.files.read('wal', frame, frameOffset(cursor.frame + 1, cursor.pageSize));
  if (read < WAL_FRAME_HEADER_BYTES || !header) return true;
  return frame.readUInt32BE(8) !== header.salt1 || frame.readUInt32BE(12) !== header.salt2;
}

/** Whether nothing of the cursor's generation was overwritten: a new one writes over the first frame first. */
function isStillThere(db: Database, cursor: WalCursor): boolean {
  const frame = Buffer.alloc(WAL_FRAME_HEADER_BYTES);
  const read = db.files.read('wal', frame, frameOffset(1, cursor.pageSize));
  if (read < WAL_FRAME_HEADER_BYTES) return false;
  return sameSalts(cursor, { salt1: frame.readUInt32BE(8), salt2: frame.readUInt32BE(12) });
}

/**
 * A -wal is started over only when all of it is in the database file. So a tail that is not there was never
 * committed (its writer died before publishing it).
 */
function isInDatabase(db: Database, tail: Batch): boolean {
  const { pageSize } = tail.start;
  const page = Buffer.allocUnsafe(pageSize);
  const inFile = Buffer.allocUnsafe(pageSize);
  for (const [pgno, frame] of tail.frames) {
    db.files.read('wal', page, frameOffset(frame, pageSize) + WAL_FRAME_HEADER_BYTES);
    if (db.files.read('db', inFile, (pgno - 1) * pageSize) < pageSize) return false;
    if (pageChecksum(pgno, page) !== pageChecksum(pgno, inFile)) return false;
  }
  return true;
}

function readWalHeader(db: Database) {
  if (db.files.read('wal', headerBytes, 0) < WAL_HEADER_BYTES) return undefined;
  return parseWalHeader(headerBytes);
}
