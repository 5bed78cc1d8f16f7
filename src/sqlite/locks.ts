/**
 * Where SQLite's byte-range locks lie. In the database file: PENDING, RESERVED and the range of SHARED,
 * all on the page at 1 GiB. In the -shm file: one byte per slot of the wal-index from 120 on, then the
 * "dead man's switch", which every connection holds shared so that the first one knows it is the first.
 */

export const PENDING_BYTE = 0x40000000;
export const RESERVED_BYTE = PENDING_BYTE + 1;
export const SHARED_FIRST = PENDING_BYTE + 2;
/** Bytes from SHARED_FIRST on that a reader or the exclusive writer locks. */
export const SHARED_SIZE = 510;
/** Bytes from PENDING_BYTE on that are locked under EXCLUSIVE: PENDING, RESERVED and the range of SHARED lie side by side. */
export const EXCLUSIVE_SIZE = SHARED_FIRST + SHARED_SIZE - PENDING_BYTE;

/** The byte in the -shm file of slot 0. */
export const WAL_LOCK_BASE = 120;
/** Held while appending to the log. */
export const WAL_WRITE_SLOT = 0;
/** Held while copying the log into the database. */
export const WAL_CKPT_SLOT = 1;
/** Held while rebuilding the wal-index from the log. */
export const WAL_RECOVER_SLOT = 2;
/** Readers per log: slot i holds the readers of read mark i. */
export const WAL_READERS = 5;
/** The byte in the -shm file of the dead man's switch. */
export const DMS_BYTE = 128;

/** The slot of read mark `i`, 0..4. Mark 0 stands for "the log is not needed". */
export function WAL_READ_SLOT(i: number): number {
  return 3 + i;
}
