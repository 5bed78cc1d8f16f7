/**
 * The transactions of applications under the halt lock, at the moment at which their commit is held back: read from the -wal,
 * given to `end`, which returns when the primary has them. It throws when they are refused; then nothing has changed.
 */
import { pageChecksum } from '../../kernels/checksum.ts';
import { type HeldWrite, overlay } from '../../mount/halt-gate.ts';
import { parseDbHeader } from '../../sqlite/db-header.ts';
import {
  frameOffset,
  parseWalHeader,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  type WalCursor,
  walCursorAtStart,
} from '../../sqlite/wal.ts';
import { pagesToWrite, readUnwrittenPage, writePage } from '../capture/wal-pages.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { TransactionWriter } from '../core/transaction-writer.ts';
import { readCurrentPage, readStoredPage } from '../read/current-page.ts';
import { unwrittenFault } from '../read/unwritten.ts';
import type { Task } from '../tasks/scheduler.ts';
import { type Halt, HaltRefused } from './halt.ts';

const FRAMES_PER_STEP = 4096;
const PAGES_PER_STEP = 256;
const VERSIONS_OFFSET = 18;
const COUNTER_OFFSET = 24;
const VALID_FOR_OFFSET = 92;

/** What the frames between the cursor and a frame say. */
interface Frames {
  /** Its checksums may not be those of the frame: the owner of the -wal finds them when the lock ends. */
  readonly end: WalCursor;
  readonly frames: Map<number, number>;
  readonly commit: number;
}

/** The write that makes a commit frame whole. Throws what `end` throws; then nothing has changed. */
export function* commitWal(
  ctx: EngineContext,
  db: Database,
  write: HeldWrite,
  halt: Halt,
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
    const firstFrame = frames.get(1);
    const page1 = asOnPrimary(
      db,
      firstFrame === undefined ? undefined : pageOf(1, firstFrame).data,
    );
    const fault = unwrittenFault(db, { pageSize, frames, commit });
    if (fault !== undefined) throw new HaltRefused(fault);
    const writer = new TransactionWriter(ctx, db, header);
    let count = 0;
    try {
      if (page1) writer.page(1, page1);
      for (const pgno of pagesToWrite(db, { pageSize, frames, commit })) {
        if (pgno === 1 && page1) continue;
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
      yield* halt.end(writer);
    } catch (error) {
      writer.abort();
      throw error;
    }
    halt.page1 = page1;
  }
  for (const [pgno, frame] of frames) db.wal.frames.set(pgno, frame);
  db.wal.cursor = found.end;
}

/**
 * Page 1 as the primary is to have it, where that is not as it was `written`: in its journal mode, since the locks there are taken
 * by that; and in a rollback-journal mode with a change counter that is one more than at our position.
 */
function asOnPrimary(db: Database, written: Buffer | undefined): Buffer | undefined {
  const before = Buffer.alloc(db.pageSize);
  readCurrentPage(db, 1, before);
  const page = Buffer.from(written ?? before);
  before.copy(page, VERSIONS_OFFSET, VERSIONS_OFFSET, VERSIONS_OFFSET + 2);
  const header = parseDbHeader(page);
  if (header?.writeVersion === 1) {
    const counter = (before.readUInt32BE(COUNTER_OFFSET) + 1) >>> 0;
    page.writeUInt32BE(counter, COUNTER_OFFSET);
    // The size in the header counts while these two agree.
    if (header.versionValidFor === header.changeCounter)
      page.writeUInt32BE(counter, VALID_FOR_OFFSET);
  }
  return page.equals(written ?? before) ? undefined : page;
}

/** What the frames up to `upTo` say: one transaction, whatever their checksums are (SQLite before 3.51 leaves some without). */
function* scan(
  start: WalCursor,
  upTo: number,
  read: (offset: number, length: number) => Buffer,
): Task<Frames> {
  const end = { ...start, frame: upTo };
  const frames = new Map<number, number>();
  for (let frame = start.frame + 1; frame <= upTo; frame++) {
    const head = read(frameOffset(frame, start.pageSize), WAL_FRAME_HEADER_BYTES);
    const pgno = head.length < WAL_FRAME_HEADER_BYTES ? 0 : head.readUInt32BE(0);
    if (pgno === 0) throw new HaltRefused('its frames do not follow the last commit');
    frames.set(pgno, frame);
    if (frame === upTo) {
      const commit = head.readUInt32BE(4);
      if (commit === 0) throw new HaltRefused('its last frame is no commit');
      return { end, frames, commit };
    }
    if (frame % FRAMES_PER_STEP === 0) yield;
  }
  throw new HaltRefused('an acknowledged commit is written over');
}

/** The -wal is started over, with this header: allowed when all of it is in the database file. */
export function restartWal(db: Database, header: Uint8Array): void {
  if (!isBackfilled(db)) throw new HaltRefused('a commit was never published: its writer died');
  const parsed = parseWalHeader(header);
  if (parsed?.pageSize !== db.pageSize) throw new HaltRefused('a -wal of other pages');
  db.forgetWal();
  db.wal.cursor = walCursorAtStart(parsed);
}

/** By content: the wal-index of a -wal that is being started over tells of the next generation already. */
function isBackfilled(db: Database): boolean {
  const inWal = Buffer.allocUnsafe(db.pageSize);
  const inFile = Buffer.allocUnsafe(db.pageSize);
  for (const pgno of db.wal.frames.keys()) {
    if (pgno > db.pageCount) continue;
    readStoredPage(db, pgno, inWal);
    if (db.files.read('db', inFile, (pgno - 1) * inFile.length) < inFile.length) return false;
    if (!inFile.equals(inWal)) return false;
  }
  return true;
}
