/**
 * What holds a commit back while a replica may write a database under the halt lock. In WAL mode a commit is
 * published through shared memory, which nobody sees; but before that SQLite has to write its commit frame. The write
 * that makes that frame whole is held until the primary has the transaction. Refused, it leaves a -wal that ends
 * before the transaction, also for whoever recovers it after a crash.
 *
 * A frame is written as header and page. Where a transaction has written a page twice, the frames from there on have no salts
 * and checksums at first, and SQLite writes their headers once more at the end; before 3.51 it may forget to, and what follows
 * has checksums of another chain. It is a commit all the same. So the write that ends a frame with the size of a database
 * counts, whatever its checksum; and so does one that makes such a frame valid, in whatever order it comes.
 */
import fs from 'node:fs';
import type { Verdict } from '../fuse/policy.ts';
import {
  frameOffset,
  parseWalHeader,
  readFrames,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  type WalHeader,
  walCursorAtStart,
} from '../sqlite/wal.ts';

const EIO = 5;
const CHECKSUM_OFFSET = 16;
/** What a frame begins with. */
const PAGE_AND_SIZE_BYTES = 8;

/**
 * What is to become of a write to the -wal of a database under the halt lock. `fd`: the file as it is before;
 * `acknowledgedBytes`: what may not be written over.
 */
export function judgeWalWrite(
  fd: number,
  offset: number,
  data: Uint8Array,
  acknowledgedBytes: number,
): Verdict {
  // The log is started over: the engine looks whether all of it is in the database file.
  if (offset === 0) return data.length === WAL_HEADER_BYTES ? 'defer' : EIO;
  if (offset < acknowledgedBytes) return isMended(fd, offset, data) ? 0 : EIO;
  const header = parseWalHeader(readAt(fd, WAL_HEADER_BYTES, 0));
  if (!header) return EIO;
  const frameBytes = header.pageSize + WAL_FRAME_HEADER_BYTES;
  const first = Math.floor((offset - WAL_HEADER_BYTES) / frameBytes) + 1;
  const last = Math.floor((offset + data.length - 1 - WAL_HEADER_BYTES) / frameBytes) + 1;
  for (let frame = first; frame <= last; frame++) {
    if (endsTransaction(fd, header, frame, offset, data)) return 'defer';
  }
  return 0;
}

/** Salts and checksums of an acknowledged frame, which stays what it is. */
function isMended(fd: number, offset: number, data: Uint8Array): boolean {
  const header = parseWalHeader(readAt(fd, WAL_HEADER_BYTES, 0));
  if (!header || data.length !== WAL_FRAME_HEADER_BYTES) return false;
  const frameBytes = header.pageSize + WAL_FRAME_HEADER_BYTES;
  if ((offset - WAL_HEADER_BYTES) % frameBytes !== 0) return false;
  return readAt(fd, PAGE_AND_SIZE_BYTES, offset).equals(data.subarray(0, PAGE_AND_SIZE_BYTES));
}

function endsTransaction(
  fd: number,
  header: WalHeader,
  frame: number,
  offset: number,
  data: Uint8Array,
): boolean {
  const at = frameOffset(frame, header.pageSize);
  const head = withWrite(fd, at, WAL_FRAME_HEADER_BYTES, offset, data);
  if (head.length < WAL_FRAME_HEADER_BYTES || head.readUInt32BE(4) === 0) return false;
  const isUnsalted = head.readBigUInt64BE(8) === 0n;
  const isSalted = head.readUInt32BE(8) === header.salt1 && head.readUInt32BE(12) === header.salt2;
  if (!isUnsalted && !isSalted) return false;
  const frameBytes = header.pageSize + WAL_FRAME_HEADER_BYTES;
  if (offset < at + frameBytes && offset + data.length >= at + frameBytes) return true;
  const bytes = withWrite(fd, at, frameBytes, offset, data);
  const cursor = walCursorAtStart(header);
  if (frame > 1) {
    const before = withWrite(fd, at - frameBytes + CHECKSUM_OFFSET, 8, offset, data);
    if (before.length < 8) return false;
    cursor.frame = frame - 1;
    cursor.checksum1 = before.readUInt32BE(0);
    cursor.checksum2 = before.readUInt32BE(4);
  }
  return readFrames(cursor, bytes, () => {}) === 1;
}

/** Bytes of a file as they will be with a write. Fewer at its end. */
function withWrite(
  fd: number,
  from: number,
  length: number,
  offset: number,
  data: Uint8Array,
): Buffer {
  const bytes = Buffer.alloc(length);
  const known = fs.readSync(fd, bytes, 0, length, from);
  return bytes.subarray(0, overlay(bytes, known, from, { offset, data }));
}

/** A write that is held back. */
export interface HeldWrite {
  readonly offset: number;
  readonly data: Uint8Array;
}

/**
 * Puts a write that has not been done over what was read from a file: `bytes`, of which `known` were there, from byte
 * `from` on. Returns how many are known with it.
 */
export function overlay(bytes: Buffer, known: number, from: number, write: HeldWrite): number {
  const { offset, data } = write;
  const start = Math.max(from, offset);
  const end = Math.min(from + bytes.length, offset + data.length);
  if (start >= end) return known;
  bytes.set(data.subarray(start - offset, end - offset), start - from);
  return Math.max(known, end - from);
}

function readAt(fd: number, length: number, offset: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, fs.readSync(fd, bytes, 0, length, offset));
}
