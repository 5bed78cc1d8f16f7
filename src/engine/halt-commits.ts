/**
 * The transactions of apps under the halt lock, at the moment at which their commit is held back: read from the
 * journal or the -wal, given to `end`, which returns when the primary has them, and undone when it throws.
 */
import { pageChecksum } from '../kernels/checksum.ts';
import { type HeldWrite, overlay } from '../mount/halt-gate.ts';
import {
  frameOffset,
  parseWalHeader,
  readFrames,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  type WalCursor,
  walCursorAtStart,
} from '../sqlite/wal.ts';
import { captureJournal } from './capture-journal.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { captureDifference } from './diff.ts';
import { HaltRefused } from './halt.ts';
import type { Task } from './scheduler.ts';
import { type EndEntry, TransactionWriter } from './transaction-writer.ts';
import { pagesToWrite, readUnwrittenPage, writePage } from './wal-pages.ts';

const CHUNK_BYTES = 1 << 20;
const PAGES_PER_STEP = 256;

/** The end of a journal. Throws what `end` throws; then the database file is as the app has written it. */
export function* commitJournal(ctx: EngineContext, db: Database, end: EndEntry): Task<void> {
  db.files.closeReplaced();
  if ((yield* captureJournal(ctx, db, end)) !== 'compare') return;
  if (db.files.size('db') === 0) throw new HaltRefused(`${db.name} was emptied`);
  const result = yield* captureDifference(ctx, db, 'file', end);
  if (result === 'captured' || result === 'unchanged') return;
  throw new HaltRefused(`${db.name} is no whole database`);
}

/** What the frames between the cursor and a frame say. */
interface Frames {
  readonly end: WalCursor;
  readonly frames: Map<number, number>;
  readonly pgnos: number[];
  readonly commit: number;
}

/** The write that makes a commit frame whole. Throws what `end` throws; then nothing has changed. */
export function* commitWal(
  ctx: EngineContext,
  db: Database,
  write: HeldWrite,
  end: EndEntry,
): Task<void> {
  const start = db.wal.cursor;
  if (!start) throw new HaltRefused('the -wal is not followed');
  const { pageSize } = start;
  const frameBytes = pageSize + WAL_FRAME_HEADER_BYTES;
  const read = (offset: number, length: number) => {
    const bytes = Buffer.allocUnsafe(length);
    const known = db.files.read('wal', bytes, offset);
    return bytes.subarray(0, overlay(bytes, known, offset, write));
  };
  const lastByte = write.offset + write.data.length - 1 - WAL_HEADER_BYTES;
  const upTo = Math.floor(lastByte / frameBytes) + 1;
  if (upTo <= start.frame) throw new HaltRefused('an acknowledged commit is written over');
  const found = yield* scan(start, upTo, read);
  const { frames, commit } = found;
  const pageOf = (pgno: number, frame: number) => {
    const data = read(frameOffset(frame, pageSize) + WAL_FRAME_HEADER_BYTES, pageSize);
    return { data, sum: pageChecksum(pgno, data) };
  };
  let changes = commit !== db.pageCount;
  for (const [pgno, frame] of frames) {
    if (changes || pgno > commit) continue;
    changes = pageOf(pgno, frame).sum !== db.sums.get(pgno);
  }
  if (changes) {
    const header = {
      ...db.nextHeader({
        pageSize,
        commit,
        transactions: 1,
        timestampMs: ctx.wallClockMs(),
        nodeId: ctx.nodeId,
      }),
      walOffset: frameOffset(start.frame + 1, pageSize),
      walSize: (found.end.frame - start.frame) * frameBytes,
      walSalt1: start.salt1,
      walSalt2: start.salt2,
    };
    for (const pgno of frames.keys()) if (pgno > commit) frames.delete(pgno);
    const writer = new TransactionWriter(ctx, db, header);
    let count = 0;
    try {
      for (const pgno of pagesToWrite(db, { pageSize, frames, commit })) {
        const frame = frames.get(pgno);
        if (frame === undefined) {
          const data = Buffer.allocUnsafe(pageSize);
          readUnwrittenPage(db, pgno, data);
          writer.page(pgno, data);
        } else {
          writePage(db, writer, pgno, pageOf(pgno, frame).data);
        }
        if (++count % PAGES_PER_STEP === 0) yield;
      }
      yield* end(writer);
    } catch (error) {
      writer.abort();
      throw error;
    }
  }
  for (const [pgno, frame] of frames) db.wal.frames.set(pgno, frame);
  for (const pgno of found.pgnos) db.wal.pages.push(pgno);
  db.wal.cursor = found.end;
}

function* scan(
  start: WalCursor,
  upTo: number,
  read: (offset: number, length: number) => Buffer,
): Task<Frames> {
  const frameBytes = start.pageSize + WAL_FRAME_HEADER_BYTES;
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / frameBytes));
  const end = { ...start };
  const frames = new Map<number, number>();
  const pgnos: number[] = [];
  let commit = 0;
  while (end.frame < upTo) {
    const count = Math.min(perChunk, upTo - end.frame);
    const bytes = read(frameOffset(end.frame + 1, start.pageSize), count * frameBytes);
    const valid = readFrames(end, bytes, (frame, pgno, commitPages) => {
      frames.set(pgno, frame);
      pgnos.push(pgno);
      commit = commitPages;
    });
    if (valid < count) throw new HaltRefused('its frames do not follow the last commit');
    yield;
  }
  if (commit === 0) throw new HaltRefused('its last frame is no commit');
  return { end, frames, pgnos, commit };
}

/**
 * The -wal is started over, or emptied: allowed when all of it is in the database file. `header`: what it begins
 * with from now on.
 */
export function restartWal(db: Database, header: Uint8Array | undefined): void {
  if (!isBackfilled(db)) throw new HaltRefused('a commit was never published: its writer died');
  const { cursor } = db.wal;
  const parsed = header && parseWalHeader(header);
  if (header && parsed?.pageSize !== db.pageSize) throw new HaltRefused('a -wal of other pages');
  db.forgetWal();
  if (parsed) db.wal.cursor = walCursorAtStart(parsed);
  else if (cursor) db.wal.cursor = { ...cursor, frame: 0 };
}

function isBackfilled(db: Database): boolean {
  const page = Buffer.allocUnsafe(db.pageSize);
  for (const pgno of db.wal.frames.keys()) {
    if (pgno > db.pageCount) continue;
    if (db.files.read('db', page, (pgno - 1) * page.length) < page.length) return false;
    if (pageChecksum(pgno, page) !== db.sums.get(pgno)) return false;
  }
  return true;
}
