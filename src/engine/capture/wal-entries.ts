/**
 * What of a -wal becomes an entry of the log: committed frames, or the content of the database file in the pages that the rest
 * of a generation names, when all of it is there.
 */
import { pageChecksum } from '../../kernels/checksum.ts';
import { DB_HEADER_BYTES, databasePageCount, parseDbHeader } from '../../sqlite/db-header.ts';
import { frameOffset, WAL_FRAME_HEADER_BYTES } from '../../sqlite/wal.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { TransactionWriter } from '../core/transaction-writer.ts';
import { unwrittenFault } from '../read/unwritten.ts';
import type { Task } from '../tasks/scheduler.ts';
import type { WalFileHeader, WalFollowed } from '../wal/wal-follow.ts';
import {
  keepsFramesOf,
  readFrameHeader,
  readWalFileHeader,
  type ScannedFrames,
  scanFrames,
} from '../wal/wal-scan.ts';
import { pagesToWrite, readUnwrittenPage, writePage } from './wal-pages.ts';

/**
 * captured: how many commits; lost: what was committed cannot be told, and only a comparison helps; unsure: it cannot be
 * told now, and not by a comparison either.
 */
export type WalCaptureResult =
  | { readonly kind: 'captured'; readonly commits: number }
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'unsure'; readonly reason: string };

const PAGES_PER_STEP = 256;

/**
 * Captures the database file in the pages that the rest of the -wal names, behind what was captured of it. `holds`: whether
 * what was read is still true; asked at the end.
 */
export function* captureFile(
  ctx: EngineContext,
  db: Database,
  generation: WalFileHeader,
  holds: () => boolean,
): Task<WalCaptureResult | 'moved'> {
  const { pageSize } = generation;
  const rest = yield* scanFrames(db, generation, db.wal.followed.frame);
  if (!keepsFramesOf(db, generation)) return lost('the end of the -wal was written over');
  const commit = pageCountOfFile(db, pageSize);
  if (commit === undefined) return lost('the database file is not what its -wal says');
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

/** Of the file alone, as SQLite reckons it; undefined when that is no database of this page size. */
function pageCountOfFile(db: Database, pageSize: number): number | undefined {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  const header = parseDbHeader(head);
  return header?.pageSize === pageSize ? databasePageCount(header, db.files.size('db')) : undefined;
}

/** Writes frames as one entry, and moves on behind them. moved: they were written over while they were read. */
export function* captureScanned(
  ctx: EngineContext,
  db: Database,
  from: WalFollowed,
  generation: WalFileHeader,
  scanned: ScannedFrames,
  end: Pick<WalFollowed, 'checksum1' | 'checksum2' | 'isChained'>,
): Task<WalCaptureResult | 'moved'> {
  const { pageSize } = generation;
  const frameBytes = pageSize + WAL_FRAME_HEADER_BYTES;
  const { frames, last, commit } = scanned;
  const fault = unwrittenFault(db, { pageSize, frames, commit });
  if (fault !== undefined) return { kind: 'unsure', reason: fault };
  // What was read at once is gone with the first yield.
  const isLong = commit - db.pageCount > frames.size + PAGES_PER_STEP;
  const bytes = isLong ? undefined : scanned.bytes;
  forgetOthers(db, generation);
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
    setFollowed(db, { ...from, ...end, generation, frame: last, frameHeader });
    for (const [pgno, frame] of frames) if (pgno <= commit) db.wal.frames.set(pgno, frame);
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
  { after, last, commits }: ScannedFrames,
  commit: number,
): TransactionWriter {
  const { pageSize, salt1, salt2 } = generation;
  return new TransactionWriter(ctx, db, {
    ...db.nextHeader({
      pageSize,
      commit,
      transactions: Math.max(1, commits),
      timestampMs: ctx.wallClockMs(),
      nodeId: ctx.nodeId,
    }),
    walOffset: frameOffset(after + 1, pageSize),
    walSize: (last - after) * (pageSize + WAL_FRAME_HEADER_BYTES),
    walSalt1: salt1,
    walSalt2: salt2,
  });
}

/** What is known of the frames of another generation is of no use: all of it is in the database file. */
function forgetOthers({ wal }: Database, generation: WalFileHeader | undefined): void {
  if (generation?.bytes !== wal.followed.generation?.bytes) wal.frames.clear();
}

/** Where the -wal stands from now on. */
export function setFollowed(db: Database, followed: WalFollowed): void {
  const { wal } = db;
  const { generation, frame, checksum1, checksum2 } = followed;
  forgetOthers(db, generation);
  wal.followed = followed;
  if (!generation) {
    wal.cursor = undefined;
    return;
  }
  const { pageSize, bigEndian, salt1, salt2 } = generation;
  wal.cursor = { pageSize, bigEndian, salt1, salt2, frame, checksum1, checksum2 };
}

export function captured(commits: number): WalCaptureResult {
  return { kind: 'captured', commits };
}

export function lost(reason: string): WalCaptureResult & { kind: 'lost' } {
  return { kind: 'lost', reason };
}
