/**
 * The -wal file: a header, then frames, each a page with 24 bytes before it. Numbers are big-endian;
 * the checksum's byte order is the header's.
 *
 * Header, 32 bytes:
 *   0  4  magic: 0x377f0682 (checksums over little-endian words) or 0x377f0683 (big-endian)
 *   4  4  version 3007000
 *   8  4  page size
 *  12  4  checkpoint sequence number
 *  16  8  salts 1 and 2
 *  24  8  checksum of bytes 0..23
 *
 * Frame, 24 bytes and a page:
 *   0  4  page number
 *   4  4  database size in pages behind a commit; 0 when the transaction goes on
 *   8  8  salts, those of the header
 *  16  8  cumulative checksum: from the header's over bytes 0..7 and the page of every frame so far
 */
import assert from 'node:assert';
import { isPageSize } from './db-header.ts';
import { addToWalChecksum } from './wal-checksum.ts';

export const WAL_HEADER_BYTES = 32;
export const WAL_FRAME_HEADER_BYTES = 24;

const MAGIC_LITTLE_ENDIAN = 0x377f0682;
const MAGIC_BIG_ENDIAN = 0x377f0683;
const WAL_VERSION = 3007000;
const CHECKSUM_OFFSET = 24;

export interface WalHeader {
  /** The byte order of the checksums. */
  readonly bigEndian: boolean;
  /** Bytes: a power of two, 512..65536. */
  readonly pageSize: number;
  readonly checkpointSequence: number;
  readonly salt1: number;
  readonly salt2: number;
  readonly checksum1: number;
  readonly checksum2: number;
}

/** A place between two frames, from which the log can be read or continued. */
export interface WalCursor {
  readonly pageSize: number;
  readonly bigEndian: boolean;
  readonly salt1: number;
  readonly salt2: number;
  /** The last frame behind the cursor; 0 at the start. */
  frame: number;
  /** Cumulative checksum behind that frame. */
  checksum1: number;
  checksum2: number;
}

/**
 * Called for each valid frame: its number (from 1), its page, the database size in pages when it ends a
 * transaction (else 0), and where the frame (its header) starts in the bytes given.
 */
export type OnFrame = (frame: number, pgno: number, commitPages: number, offset: number) => void;

/** undefined when it is not a valid header (too short, magic, version, page size, checksum): an empty log. */
export function parseWalHeader(bytes: Uint8Array): WalHeader | undefined {
  if (bytes.length < WAL_HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, WAL_HEADER_BYTES);
  const magic = view.getUint32(0);
  if (magic !== MAGIC_LITTLE_ENDIAN && magic !== MAGIC_BIG_ENDIAN) return undefined;
  const header: WalHeader = {
    bigEndian: magic === MAGIC_BIG_ENDIAN,
    pageSize: view.getUint32(8),
    checkpointSequence: view.getUint32(12),
    salt1: view.getUint32(16),
    salt2: view.getUint32(20),
    checksum1: view.getUint32(CHECKSUM_OFFSET),
    checksum2: view.getUint32(CHECKSUM_OFFSET + 4),
  };
  if (view.getUint32(4) !== WAL_VERSION || !isPageSize(header.pageSize)) return undefined;
  const sum = { checksum1: 0, checksum2: 0 };
  addToWalChecksum(sum, view, 0, CHECKSUM_OFFSET, header.bigEndian);
  const valid = sum.checksum1 === header.checksum1 && sum.checksum2 === header.checksum2;
  return valid ? header : undefined;
}

/** The 32 bytes of a header, with its checksum. */
export function encodeWalHeader(header: Omit<WalHeader, 'checksum1' | 'checksum2'>): Buffer {
  assert(isPageSize(header.pageSize));
  const bytes = Buffer.alloc(WAL_HEADER_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, WAL_HEADER_BYTES);
  view.setUint32(0, header.bigEndian ? MAGIC_BIG_ENDIAN : MAGIC_LITTLE_ENDIAN);
  view.setUint32(4, WAL_VERSION);
  view.setUint32(8, header.pageSize);
  view.setUint32(12, header.checkpointSequence);
  view.setUint32(16, header.salt1);
  view.setUint32(20, header.salt2);
  const sum = { checksum1: 0, checksum2: 0 };
  addToWalChecksum(sum, view, 0, CHECKSUM_OFFSET, header.bigEndian);
  view.setUint32(CHECKSUM_OFFSET, sum.checksum1);
  view.setUint32(CHECKSUM_OFFSET + 4, sum.checksum2);
  return bytes;
}

/** The cursor before the first frame. */
export function walCursorAtStart(header: WalHeader): WalCursor {
  const { pageSize, bigEndian, salt1, salt2, checksum1, checksum2 } = header;
  return { pageSize, bigEndian, salt1, salt2, frame: 0, checksum1, checksum2 };
}

/** Where frame `frame` (from 1) starts in the file. */
export function frameOffset(frame: number, pageSize: number): number {
  return WAL_HEADER_BYTES + (frame - 1) * (pageSize + WAL_FRAME_HEADER_BYTES);
}

/**
 * Reads the frames of `bytes`, which begin right behind the cursor, and moves the cursor behind them.
 * Stops at the first frame that is cut off or not valid (page 0, other salts, checksum): there the log
 * ends, for now. Returns how many frames were valid.
 */
export function readFrames(cursor: WalCursor, bytes: Uint8Array, onFrame: OnFrame): number {
  const { pageSize, bigEndian, salt1, salt2 } = cursor;
  const frameBytes = pageSize + WAL_FRAME_HEADER_BYTES;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const sum = { checksum1: cursor.checksum1, checksum2: cursor.checksum2 };
  let count = 0;
  for (let at = 0; at + frameBytes <= bytes.length; at += frameBytes) {
    const pgno = view.getUint32(at);
    if (pgno === 0 || view.getUint32(at + 8) !== salt1 || view.getUint32(at + 12) !== salt2) break;
    addToWalChecksum(sum, view, at, 8, bigEndian);
    addToWalChecksum(sum, view, at + WAL_FRAME_HEADER_BYTES, pageSize, bigEndian);
    if (view.getUint32(at + 16) !== sum.checksum1 || view.getUint32(at + 20) !== sum.checksum2) {
      break;
    }
    cursor.frame++;
    cursor.checksum1 = sum.checksum1;
    cursor.checksum2 = sum.checksum2;
    count++;
    onFrame(cursor.frame, pgno, view.getUint32(at + 4), at);
  }
  return count;
}

/**
 * Writes the next frame to the start of `into` (a page and 24 bytes at least) and moves the cursor
 * behind it. `commit` is the database size in pages when this frame ends a transaction, else 0.
 */
export function encodeFrame(
  cursor: WalCursor,
  pgno: number,
  commit: number,
  data: Uint8Array,
  into: Uint8Array,
): void {
  const { pageSize, bigEndian } = cursor;
  assert(pgno > 0 && data.length === pageSize);
  const view = new DataView(into.buffer, into.byteOffset, WAL_FRAME_HEADER_BYTES + pageSize);
  assert(into.length >= view.byteLength);
  view.setUint32(0, pgno);
  view.setUint32(4, commit);
  view.setUint32(8, cursor.salt1);
  view.setUint32(12, cursor.salt2);
  into.set(data, WAL_FRAME_HEADER_BYTES);
  addToWalChecksum(cursor, view, 0, 8, bigEndian);
  addToWalChecksum(cursor, view, WAL_FRAME_HEADER_BYTES, pageSize, bigEndian);
  view.setUint32(16, cursor.checksum1);
  view.setUint32(20, cursor.checksum2);
  cursor.frame++;
}
