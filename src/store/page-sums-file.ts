/**
 * The sidecar of a database: its page checksums on disk, so that a start needs no scan.
 *
 *     offset  size
 *     0       8     magic "LFLSUMS1"
 *     8       8     TXID the table belongs to, u64 little-endian
 *     16      8     database checksum at that TXID
 *     24      4     page size
 *     28      4     number of pages
 *     32      32    zero
 *     4096    8*n   checksum of page 1, page 2, …, u64 little-endian
 *
 * It is written in place, changed blocks first and the header last, each on the disk before what follows; what the header
 * counts no more is cut off behind that. A crash in between leaves entries newer than the header; the log from that TXID
 * on sets them again, and the XOR over the table must then equal the log's last checksum, or the table is not used. So
 * the log must be on the disk first. A table that the log does not lead to takes the place of the old one as a whole.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Position } from '../ltx/position.ts';
import { syncDirectory } from './log-files.ts';
import { PAGES_PER_BLOCK, PageSums } from './page-sums.ts';

const MAGIC = 'LFLSUMS1';
const HEADER_BYTES = 64;
const TABLE_OFFSET = 4096;

export interface StoredSums {
  readonly position: Position;
  readonly pageSize: number;
  readonly sums: PageSums;
}

/**
 * Writes what changed since the last save (all of it when there is no file yet); it is on the disk then. The caller has the log up
 * to `position` on the disk. Throws what the disk says.
 */
export function savePageSums(
  file: string,
  sums: PageSums,
  position: Position,
  pageSize: number,
): void {
  if (!fs.existsSync(file)) {
    replacePageSums(file, sums, position, pageSize);
    return;
  }
  const fd = fs.openSync(file, 'r+');
  try {
    const bytes = bytesOf(sums);
    for (const block of sums.dirtyBlockNumbers()) {
      const start = block * PAGES_PER_BLOCK * 8;
      if (start >= bytes.length) continue;
      writeAll(fd, bytes.subarray(start, start + PAGES_PER_BLOCK * 8), TABLE_OFFSET + start);
    }
    const end = TABLE_OFFSET + bytes.length;
    const { size } = fs.fstatSync(fd);
    if (size < end) fs.ftruncateSync(fd, end);
    fs.fdatasyncSync(fd);
    writeAll(fd, encodeHeader(sums, position, pageSize), 0);
    fs.fdatasyncSync(fd);
    if (size > end) fs.ftruncateSync(fd, end);
  } finally {
    fs.closeSync(fd);
  }
  sums.markSaved();
}

/** Writes the whole table, which the next start finds, or the one before it: no log is needed. Throws what the disk says. */
export function replacePageSums(
  file: string,
  sums: PageSums,
  position: Position,
  pageSize: number,
): void {
  const fresh = `${file}.tmp`;
  try {
    const fd = fs.openSync(fresh, 'w', 0o600);
    try {
      writeAll(fd, encodeHeader(sums, position, pageSize), 0);
      fs.ftruncateSync(fd, TABLE_OFFSET);
      writeAll(fd, bytesOf(sums), TABLE_OFFSET);
      fs.fdatasyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(fresh, file);
  } catch (error) {
    fs.rmSync(fresh, { force: true });
    throw error;
  }
  syncDirectory(path.dirname(file));
  sums.markSaved();
}

/** undefined when there is no table, or none that makes sense. Its checksum is not judged here. */
export function loadPageSums(file: string): StoredSums | undefined {
  let fd: number;
  try {
    fd = fs.openSync(file, 'r');
  } catch {
    return undefined;
  }
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    if (fs.readSync(fd, header, 0, HEADER_BYTES, 0) !== HEADER_BYTES) return undefined;
    if (header.toString('latin1', 0, 8) !== MAGIC) return undefined;
    const pageCount = header.readUInt32LE(28);
    if (fs.fstatSync(fd).size < TABLE_OFFSET + pageCount * 8) return undefined;
    const table = new BigUint64Array(pageCount);
    const bytes = new Uint8Array(table.buffer);
    for (let at = 0; at < bytes.length; ) {
      const n = fs.readSync(fd, bytes, at, bytes.length - at, TABLE_OFFSET + at);
      if (n === 0) return undefined;
      at += n;
    }
    return {
      position: {
        txid: Number(header.readBigUInt64LE(8)),
        checksum: header.readBigUInt64LE(16),
      },
      pageSize: header.readUInt32LE(24),
      sums: PageSums.from(table),
    };
  } finally {
    fs.closeSync(fd);
  }
}

function bytesOf(sums: PageSums): Uint8Array {
  const table = sums.view();
  return new Uint8Array(table.buffer, table.byteOffset, table.byteLength);
}

function encodeHeader(sums: PageSums, position: Position, pageSize: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 'latin1');
  header.writeBigUInt64LE(BigInt(position.txid), 8);
  header.writeBigUInt64LE(position.checksum, 16);
  header.writeUInt32LE(pageSize, 24);
  header.writeUInt32LE(sums.pageCount, 28);
  return header;
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length; ) {
    at += fs.writeSync(fd, bytes, at, bytes.length - at, position + at);
  }
}
