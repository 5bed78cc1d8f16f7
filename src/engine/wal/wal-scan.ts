/**
 * Reading the frames of a -wal, in the two ways that SQLite does: as a reader, who believes the wal-index and no checksum,
 * and as the recovery of a -wal that nobody uses, which believes the chain of checksums alone.
 */
import {
  frameOffset,
  parseWalHeader,
  readFrames,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  type WalCursor,
} from '../../sqlite/wal.ts';
import type { HasFiles } from '../files/files.ts';
import type { Task } from '../tasks/scheduler.ts';
import type { WalFileHeader } from './wal-follow.ts';

/** Bytes of the -wal read at once: also what a task does between two yields. */
const CHUNK_BYTES = 1 << 20;
/** Frames and their pages; shared, as a task uses it between two yields only. */
const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES + 65536 + WAL_FRAME_HEADER_BYTES);
const headerBytes = Buffer.alloc(WAL_HEADER_BYTES);
const frameHeaderBytes = Buffer.alloc(WAL_FRAME_HEADER_BYTES);

/** What the file begins with; undefined when that is no valid header. */
export function readWalFileHeader(db: HasFiles): WalFileHeader | undefined {
  if (db.files.read('wal', headerBytes, 0) < WAL_HEADER_BYTES) return undefined;
  const parsed = parseWalHeader(headerBytes);
  return parsed && { ...parsed, bytes: headerBytes.toString('latin1') };
}

/** The 24 bytes before a frame's page, as a byte string; '' for frame 0, and fewer at the end of the file. */
export function readFrameHeader(db: HasFiles, frame: number, pageSize: number): string {
  if (frame === 0) return '';
  const read = db.files.read('wal', frameHeaderBytes, frameOffset(frame, pageSize));
  return frameHeaderBytes.toString('latin1', 0, read);
}

/**
 * Whether the frames of a generation are still there, whose header may be written over already: the next generation is
 * written from frame 1 on. Not when that is certain of neither: SQLite may leave it without salts.
 */
export function keepsFramesOf(db: HasFiles, { pageSize, salt1, salt2 }: WalFileHeader): boolean {
  const read = db.files.read('wal', frameHeaderBytes, frameOffset(1, pageSize));
  if (read < WAL_FRAME_HEADER_BYTES) return true;
  return frameHeaderBytes.readUInt32BE(8) === salt1 && frameHeaderBytes.readUInt32BE(12) === salt2;
}

/** Whether a frame is there that may be of the generation: with its salts, or without any. */
export function mayHaveFrame(db: HasFiles, generation: WalFileHeader, frame: number): boolean {
  const read = db.files.read('wal', frameHeaderBytes, frameOffset(frame, generation.pageSize));
  return read === WAL_FRAME_HEADER_BYTES && mayBeOf(generation, frameHeaderBytes, 0);
}

/** SQLite writes frames without salts where it mends them at the commit, and before 3.51 left some so. */
function mayBeOf({ salt1, salt2 }: WalFileHeader, bytes: Buffer, at: number): boolean {
  if (bytes.readUInt32BE(at) === 0) return false;
  const [a, b] = [bytes.readUInt32BE(at + 8), bytes.readUInt32BE(at + 12)];
  return (a === salt1 && b === salt2) || (a === 0 && b === 0);
}

/** Frames from one place on. */
export interface ScannedFrames {
  /** The newest frame of each page. */
  readonly frames: Map<number, number>;
  /** The frame before them. */
  readonly after: number;
  /** The last frame that belongs to it. */
  readonly last: number;
  /** Frames that end a transaction. */
  readonly commits: number;
  /** Size of the database behind the last of those, in pages; 0 without one. */
  readonly commit: number;
  /** Whether the last frame ends a transaction. */
  readonly endsWithCommit: boolean;
  /** All frames, when they were read at once: valid until the next scan or yield. */
  readonly bytes: Uint8Array | undefined;
}

/**
 * The frames after..upTo of a generation, whatever their checksums. Ends early at a frame that is not of the generation: the
 * caller says whether it had to get to `upTo`.
 */
export function* scanFrames(
  db: HasFiles,
  generation: WalFileHeader,
  after: number,
  upTo = Number.MAX_SAFE_INTEGER,
): Task<ScannedFrames> {
  const { pageSize } = generation;
  const frameBytes = pageSize + WAL_FRAME_HEADER_BYTES;
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / frameBytes));
  const frames = new Map<number, number>();
  let last = after;
  let commits = 0;
  let commit = 0;
  let endsWithCommit = false;
  let chunks = 0;
  scan: while (last < upTo) {
    if (chunks++ > 0) yield;
    const count = Math.min(perChunk, upTo - last);
    const into = chunk.subarray(0, count * frameBytes);
    const read = db.files.read('wal', into, frameOffset(last + 1, pageSize));
    const whole = Math.floor(read / frameBytes);
    for (let i = 0, at = 0; i < whole; i++, at += frameBytes) {
      const pgno = into.readUInt32BE(at);
      if (!mayBeOf(generation, into, at)) break scan;
      frames.set(pgno, ++last);
      const size = into.readUInt32BE(at + 4);
      endsWithCommit = size !== 0;
      if (size === 0) continue;
      commits++;
      commit = size;
    }
    if (whole < count) break;
  }
  const length = (last - after) * frameBytes;
  const bytes = chunks === 1 ? chunk.subarray(0, length) : undefined;
  return { frames, after, last, commits, commit, endsWithCommit, bytes };
}

/** How far the chain of checksums goes: what SQLite's own recovery would take for committed. */
export interface Chain {
  /** Behind the last commit frame of it. */
  readonly cursor: WalCursor;
  readonly frames: Map<number, number>;
  readonly commits: number;
  /** Size of the database behind it, in pages; 0 when there was no commit. */
  readonly commit: number;
}

/** Follows the chain from a cursor on, as far as it is valid and ends in a commit. */
export function* scanChain(db: HasFiles, from: WalCursor): Task<Chain> {
  const frameBytes = from.pageSize + WAL_FRAME_HEADER_BYTES;
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / frameBytes));
  const frames = new Map<number, number>();
  const open: number[] = [];
  let cursor = { ...from };
  let committed = { ...from };
  let commits = 0;
  let commit = 0;
  for (;;) {
    const offset = frameOffset(cursor.frame + 1, cursor.pageSize);
    const read = db.files.read('wal', chunk.subarray(0, perChunk * frameBytes), offset);
    const whole = Math.floor(read / frameBytes);
    let valid = 0;
    // One frame at a time: the checksum behind each commit must be known.
    for (; valid < whole; valid++) {
      const next = { ...cursor };
      const frame = chunk.subarray(valid * frameBytes, (valid + 1) * frameBytes);
      let size = 0;
      const ok = readFrames(next, frame, (_, pgno, commitPages) => {
        open.push(pgno);
        size = commitPages;
      });
      if (ok === 0) break;
      cursor = next;
      if (size === 0) continue;
      const first = cursor.frame - open.length + 1;
      for (let i = 0; i < open.length; i++) frames.set(open[i], first + i);
      open.length = 0;
      commits++;
      commit = size;
      committed = { ...cursor };
    }
    if (valid < perChunk) break;
    yield;
  }
  return { cursor: committed, frames, commits, commit };
}
