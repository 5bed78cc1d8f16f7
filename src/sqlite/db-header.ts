/**
 * The first 100 bytes of a SQLite database file. Numbers are big-endian.
 *
 *   0  16  "SQLite format 3\0"
 *  16   2  page size; 1 means 65536
 *  18   1  write version: 1 rollback journal, 2 WAL
 *  19   1  read version, likewise
 *  20   1  bytes reserved at the end of each page
 *  24   4  change counter
 *  28   4  database size in pages; valid when 24 and 92 agree
 *  32   4  first trunk page of the freelist, 0 when there is none
 *  36   4  pages on the freelist
 *  40   4  schema cookie
 *  52   4  largest root page; not 0 with auto_vacuum
 *  92   4  change counter at which 28 was valid
 */
import { PENDING_BYTE } from './locks.ts';

export const DB_HEADER_BYTES = 100;
export const MIN_PAGE_SIZE = 512;
export const MAX_PAGE_SIZE = 65536;

const MAGIC = Buffer.from('SQLite format 3\0', 'latin1');

export interface DbHeader {
  /** Bytes: a power of two, 512..65536. */
  readonly pageSize: number;
  readonly writeVersion: number;
  readonly readVersion: number;
  /** Bytes at the end of each page that SQLite leaves to extensions. */
  readonly reservedBytes: number;
  readonly changeCounter: number;
  /** Pages as the header says; trust it only while `versionValidFor` equals `changeCounter`. */
  readonly pageCount: number;
  readonly freelistTrunk: number;
  readonly freelistPages: number;
  readonly schemaCookie: number;
  /** auto_vacuum is full or incremental. */
  readonly autoVacuum: boolean;
  readonly versionValidFor: number;
}

/** Whether the bytes begin as a database file does. Fewer than 16 bytes do not. */
export function isDatabaseHeader(bytes: Uint8Array): boolean {
  return bytes.length >= MAGIC.length && MAGIC.equals(bytes.subarray(0, MAGIC.length));
}

/** undefined when it is not the header of a database: too short, another magic, an impossible page size. */
export function parseDbHeader(bytes: Uint8Array): DbHeader | undefined {
  if (bytes.length < DB_HEADER_BYTES || !isDatabaseHeader(bytes)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, DB_HEADER_BYTES);
  const stored = view.getUint16(16);
  const pageSize = stored === 1 ? MAX_PAGE_SIZE : stored;
  if (!isPageSize(pageSize)) return undefined;
  return {
    pageSize,
    writeVersion: bytes[18],
    readVersion: bytes[19],
    reservedBytes: bytes[20],
    changeCounter: view.getUint32(24),
    pageCount: view.getUint32(28),
    freelistTrunk: view.getUint32(32),
    freelistPages: view.getUint32(36),
    schemaCookie: view.getUint32(40),
    autoVacuum: view.getUint32(52) !== 0,
    versionValidFor: view.getUint32(92),
  };
}

/** A power of two, 512..65536. */
export function isPageSize(pageSize: number): boolean {
  return (
    pageSize >= MIN_PAGE_SIZE && pageSize <= MAX_PAGE_SIZE && (pageSize & (pageSize - 1)) === 0
  );
}

/** The page at 1 GiB, which SQLite never uses because it holds the lock bytes. */
export function lockPageNumber(pageSize: number): number {
  return PENDING_BYTE / pageSize + 1;
}

/**
 * Size of a database in pages, as SQLite sees it: what its header says if that is valid, else what the file holds.
 * The file may be longer: SQLite cuts it only after the commit.
 */
export function databasePageCount(header: DbHeader, fileBytes: number): number {
  const inFile = Math.floor(fileBytes / header.pageSize);
  return isPageCountValid(header) ? Math.min(header.pageCount, inFile) : inFile;
}

/** Whether the size in the header counts: versions of SQLite before 3.7.0 did not keep it up. */
export function isPageCountValid(header: DbHeader): boolean {
  return header.versionValidFor === header.changeCounter && header.pageCount > 0;
}
