/** Writing a rollback journal of one segment, as journal-format.ts has it. */
import {
  JOURNAL_MAGIC,
  type JournalHeader,
  journalChecksum,
  RECORD_OVERHEAD_BYTES,
} from './journal-format.ts';

/** What the header fills: the sector size that SQLite assumes. */
export const JOURNAL_SECTOR_BYTES = 512;

/** A header that fills its sector. Records of `pageSize` follow. */
export function encodeJournalHeader(header: Omit<JournalHeader, 'sectorSize'>): Buffer {
  const bytes = Buffer.alloc(JOURNAL_SECTOR_BYTES);
  JOURNAL_MAGIC.copy(bytes);
  bytes.writeUInt32BE(header.recordCount, 8);
  bytes.writeUInt32BE(header.nonce, 12);
  bytes.writeUInt32BE(header.originalPageCount, 16);
  bytes.writeUInt32BE(JOURNAL_SECTOR_BYTES, 20);
  bytes.writeUInt32BE(header.pageSize, 24);
  return bytes;
}

/** A page as it was before the transaction. */
export function encodeJournalRecord(nonce: number, pgno: number, page: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(page.length + RECORD_OVERHEAD_BYTES);
  bytes.writeUInt32BE(pgno, 0);
  bytes.set(page, 4);
  bytes.writeUInt32BE(journalChecksum(nonce, page, 0, page.length), page.length + 4);
  return bytes;
}
