/**
 * The header of the wal-index (-shm file), 136 bytes in the machine's byte order, which is little-endian
 * on every machine this program runs on. The hash tables behind it: wal-index-hash.ts.
 *
 *   0  48  header, copy 1      } a reader trusts them only when both are equal
 *  48  48  header, copy 2      }
 *  96   4  frames copied into the database ("backfill")
 * 100  20  read marks 0..4
 * 120   8  lock bytes, never read or written
 * 128   4  frames that a checkpoint has begun to copy
 * 132   4  unused
 *
 * A copy:
 *   0   4  version 3007000
 *   8   4  change: counts transactions
 *  12   1  1 when initialised
 *  13   1  1 when the -wal has big-endian checksums
 *  14   2  page size; 1 means 65536
 *  16   4  last committed frame
 *  20   4  database size in pages
 *  24   8  cumulative checksum behind the last frame
 *  32   8  salts: the bytes of the -wal header as they are, so big-endian
 *  40   8  checksum of bytes 0..39, over little-endian words
 */
import assert from 'node:assert';
import { isPageSize, MAX_PAGE_SIZE } from './db-header.ts';
import { WAL_READERS } from './locks.ts';
import { addToWalChecksum } from './wal-checksum.ts';

export {
  appendToIndex,
  buildIndex,
  lookupFrame,
  type ShmMemory,
  WalIndexWriter,
} from './wal-index-hash.ts';

export const WAL_INDEX_HEADER_BYTES = 136;
/** Of one copy of the header. */
export const WAL_INDEX_COPY_BYTES = 48;
export const WAL_INDEX_VERSION = 3007000;
export const BACKFILL_OFFSET = 96;
export const BACKFILL_ATTEMPTED_OFFSET = 128;
/** The value of a read mark that nobody may use. */
export const READ_MARK_NOT_USED = 0xffffffff;

const READ_MARKS_OFFSET = 100;
const COPY_CHECKSUM_OFFSET = 40;

export interface WalIndexHeader {
  readonly version: number;
  /** Counts transactions, modulo 2^32. */
  readonly change: number;
  readonly isInit: boolean;
  /** The byte order of the -wal's checksums. */
  readonly bigEndian: boolean;
  /** Bytes, 512..65536; 0 as long as there was no transaction. */
  readonly pageSize: number;
  /** The last committed frame. */
  readonly mxFrame: number;
  /** Database size in pages behind that frame. */
  readonly pageCount: number;
  /** Cumulative checksum behind that frame, the numbers of the frame's header in either byte order. */
  readonly frameChecksum1: number;
  readonly frameChecksum2: number;
  /** The numbers of parseWalHeader. */
  readonly salt1: number;
  readonly salt2: number;
}

export interface WalIndexCheckpoint {
  /** Frames that are in the database file. */
  readonly backfill: number;
  /** Read marks 0..4. */
  readonly readMarks: number[];
  readonly backfillAttempted: number;
}

/** Where read mark `i` (0..4) lies. */
export function readMarkOffset(i: number): number {
  return READ_MARKS_OFFSET + 4 * i;
}

/**
 * `consistent`: initialised, both copies equal, checksum right, a page size that there is. If not, `header` (copy 1) says nothing:
 * a writer is at it, or the index was never built.
 */
export function parseWalIndexHeader(bytes: Uint8Array): {
  header: WalIndexHeader;
  consistent: boolean;
  checkpoint: WalIndexCheckpoint;
} {
  assert(bytes.length >= WAL_INDEX_HEADER_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, WAL_INDEX_HEADER_BYTES);
  const storedPageSize = view.getUint16(14, true);
  const header: WalIndexHeader = {
    version: view.getUint32(0, true),
    change: view.getUint32(8, true),
    isInit: view.getUint8(12) !== 0,
    bigEndian: view.getUint8(13) !== 0,
    pageSize: storedPageSize === 1 ? MAX_PAGE_SIZE : storedPageSize,
    mxFrame: view.getUint32(16, true),
    pageCount: view.getUint32(20, true),
    frameChecksum1: view.getUint32(24, true),
    frameChecksum2: view.getUint32(28, true),
    salt1: view.getUint32(32, false),
    salt2: view.getUint32(36, false),
  };
  const readMarks: number[] = [];
  for (let i = 0; i < WAL_READERS; i++) readMarks.push(view.getUint32(readMarkOffset(i), true));
  return {
    header,
    // Whoever may write the file can make checksums, too.
    consistent: header.isInit && isPossible(header.pageSize) && copiesAgree(view),
    checkpoint: {
      backfill: view.getUint32(BACKFILL_OFFSET, true),
      readMarks,
      backfillAttempted: view.getUint32(BACKFILL_ATTEMPTED_OFFSET, true),
    },
  };
}

/** 0 as long as there was no transaction. */
function isPossible(pageSize: number): boolean {
  return pageSize === 0 || isPageSize(pageSize);
}

function copiesAgree(view: DataView): boolean {
  for (let i = 0; i < WAL_INDEX_COPY_BYTES; i += 4) {
    if (view.getUint32(i) !== view.getUint32(WAL_INDEX_COPY_BYTES + i)) return false;
  }
  const sum = { checksum1: 0, checksum2: 0 };
  addToWalChecksum(sum, view, 0, COPY_CHECKSUM_OFFSET, false);
  return (
    sum.checksum1 === view.getUint32(COPY_CHECKSUM_OFFSET, true) &&
    sum.checksum2 === view.getUint32(COPY_CHECKSUM_OFFSET + 4, true)
  );
}

/** One copy of the header (48 bytes) with its checksum. */
export function encodeWalIndexHeader(header: WalIndexHeader): Buffer {
  assert(isPossible(header.pageSize));
  const bytes = Buffer.alloc(WAL_INDEX_COPY_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, WAL_INDEX_COPY_BYTES);
  view.setUint32(0, header.version, true);
  view.setUint32(8, header.change, true);
  view.setUint8(12, header.isInit ? 1 : 0);
  view.setUint8(13, header.bigEndian ? 1 : 0);
  view.setUint16(14, header.pageSize === MAX_PAGE_SIZE ? 1 : header.pageSize, true);
  view.setUint32(16, header.mxFrame, true);
  view.setUint32(20, header.pageCount, true);
  view.setUint32(24, header.frameChecksum1, true);
  view.setUint32(28, header.frameChecksum2, true);
  view.setUint32(32, header.salt1, false);
  view.setUint32(36, header.salt2, false);
  const sum = { checksum1: 0, checksum2: 0 };
  addToWalChecksum(sum, view, 0, COPY_CHECKSUM_OFFSET, false);
  view.setUint32(COPY_CHECKSUM_OFFSET, sum.checksum1, true);
  view.setUint32(COPY_CHECKSUM_OFFSET + 4, sum.checksum2, true);
  return bytes;
}
