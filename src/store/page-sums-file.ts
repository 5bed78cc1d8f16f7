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
 * It is written in place, changed blocks first and the header last, each on the disk before what follows. A crash in between
 * leaves entries newer than the header; the log from that TXID on sets them again, and the XOR over
 * the table must then equal the log's last checksum, or the table is not used. So the log must be on the disk first.
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
 * Writes what changed since the last save (all of it when the file is new); it is on the disk then. The caller has the log up
 * to `position` on the disk. Throws what the disk says.
 */
export function savePageSums(
  file: string,
  sums: PageSums,
  position: Position,
  pageSize: number,
): void {
  const fresh = !fs.existsSync(file);
  const fd = fs.openSync(file, fresh ? 'w+' : 'r+', 0o600);
  try {
    const table = sums.view();
    const bytes = new Uint8Array(table.buffer, table.byteOffset, table.byteLength);
    if (fresh) {
      writeAll(fd, bytes, TABLE_OFFSET);
    } else {
      for (const block of sums.dirtyBlockNumbers()) {
        const start = block * PAGES_PER_BLOCK * 8;
        if (start >= bytes.length) continue;
        writeAll(fd, bytes.subarray(start, start + PAGES_PER_BLOCK * 8), TABLE_OFFSET + start);
      }
    }
    fs.ftruncateSync(fd, TABLE_OFFSET + bytes.length);
    fs.fdatasyncSync(fd);
    const header = Buffer.alloc(HEADER_BYTES);
    header.write(MAGIC, 'latin1');
    header.writeBigUInt64LE(BigInt(position.txid), 8);
    header.writeBigUInt64LE(position.checksum, 16);
    header.writeUInt32LE(pageSize, 24);
    header.writeUInt32LE(sums.pageCount, 28);
    writeAll(fd, header, 0);
    fs.fdatasyncSync(fd);
    if (fresh) syncDirectory(path.dirname(file));
    sums.markSaved();
  } catch (error) {
    // Of a half that is new nobody would write the rest.
    if (fresh) fs.rmSync(file, { force: true });
    throw error;
  } finally {
    fs.closeSync(fd);
  }
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

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length; ) {
    at += fs.writeSync(fd, bytes, at, bytes.length - at, position + at);
  }
}
