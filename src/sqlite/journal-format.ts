/**
 * The parts of a rollback journal (-journal file). Numbers are big-endian.
 *
 * A journal is a row of segments, each a header that fills one sector and then records:
 *
 * Header:
 *   0  8  magic
 *   8  4  number of records; 0xffffffff: up to the end of the file; 0: not known (yet)
 *  12  4  nonce of the checksums
 *  16  4  database size in pages before the transaction
 *  20  4  sector size in bytes, of the first header for all
 *  24  4  page size in bytes, likewise
 *
 * Record:
 *   0  4  page number
 *   4  P  the page as it was before the transaction
 * 4+P  4  checksum: nonce + the bytes P-200, P-400, ... of the page
 *
 * At the end, maybe on a new sector, the name of a super-journal: 4 bytes lock page number, the name,
 * 4 bytes its length, 4 bytes the sum of its bytes (signed), 8 bytes magic.
 */
import { isPageSize } from './db-header.ts';

export const JOURNAL_HEADER_BYTES = 28;
/** Record bytes besides the page. */
export const RECORD_OVERHEAD_BYTES = 8;
export const RECORDS_TO_END = 0xffffffff;

export const JOURNAL_MAGIC = Buffer.from('d9d505f920a163d7', 'hex');
const CHECKSUM_STEP = 200;
const MIN_SECTOR_BYTES = 32;
const MAX_SECTOR_BYTES = 65536;
const SUPER_TRAILER_BYTES = 16;
const MAX_SUPER_NAME_BYTES = 4096;
const LOCK_PAGE_NUMBER_BYTES = 4;

/** The bytes of a file. A read past the end gives what there is. */
export interface JournalFile {
  readonly size: number;
  read(offset: number, length: number): Uint8Array;
}

export interface JournalHeader {
  readonly recordCount: number;
  readonly nonce: number;
  readonly originalPageCount: number;
  readonly sectorSize: number;
  readonly pageSize: number;
}

/** undefined when there is none at the start of the bytes: short, or another magic. */
export function parseJournalHeader(bytes: Uint8Array): JournalHeader | undefined {
  if (
    bytes.length < JOURNAL_HEADER_BYTES ||
    !JOURNAL_MAGIC.equals(bytes.subarray(0, JOURNAL_MAGIC.length))
  ) {
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, JOURNAL_HEADER_BYTES);
  return {
    recordCount: view.getUint32(8),
    nonce: view.getUint32(12),
    originalPageCount: view.getUint32(16),
    sectorSize: view.getUint32(20),
    pageSize: view.getUint32(24),
  };
}

/** Whether the sizes in the first header are ones that SQLite writes. */
export function hasUsableSizes({ sectorSize, pageSize }: JournalHeader): boolean {
  return (
    isPageSize(pageSize) &&
    sectorSize >= MIN_SECTOR_BYTES &&
    sectorSize <= MAX_SECTOR_BYTES &&
    (sectorSize & (sectorSize - 1)) === 0
  );
}

/** The checksum of the page that starts at `offset`, as in its record. */
export function journalChecksum(
  nonce: number,
  bytes: Uint8Array,
  offset: number,
  pageSize: number,
): number {
  let sum = nonce;
  for (let i = pageSize - CHECKSUM_STEP; i > 0; i -= CHECKSUM_STEP) sum += bytes[offset + i];
  return sum >>> 0;
}

/** The name of the super-journal, when the transaction spans several databases. */
export function readSuperJournal(file: JournalFile): string | undefined {
  return findSuperJournal(file)?.name.toString('utf8');
}

/** The same as bytes, and where what tells of it begins in the journal. */
export function findSuperJournal(
  file: JournalFile,
): { readonly name: Buffer; readonly offset: number } | undefined {
  const end = file.size - SUPER_TRAILER_BYTES;
  if (end <= 0) return undefined;
  const trailer = Buffer.from(file.read(end, SUPER_TRAILER_BYTES));
  if (trailer.length < SUPER_TRAILER_BYTES || !trailer.subarray(8).equals(JOURNAL_MAGIC))
    return undefined;
  const length = trailer.readUInt32BE(0);
  if (length === 0 || length > Math.min(end, MAX_SUPER_NAME_BYTES)) return undefined;
  const name = Buffer.from(file.read(end - length, length));
  let sum = 0;
  for (const byte of name) sum += (byte << 24) >> 24;
  if (sum >>> 0 !== trailer.readUInt32BE(4)) return undefined;
  return { name, offset: Math.max(0, end - length - LOCK_PAGE_NUMBER_BYTES) };
}
