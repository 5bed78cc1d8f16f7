/** Reading the header of a live wal-index: both copies must agree, or a writer is at it. */
import { DMS_BYTE } from '../../sqlite/locks.ts';
import { parseWalIndexHeader, WAL_INDEX_HEADER_BYTES } from '../../sqlite/wal-index.ts';
import type { DatabaseFiles } from '../files/files.ts';

export interface WalIndexView {
  readonly salt1: number;
  readonly salt2: number;
  /** The last committed frame. */
  readonly mxFrame: number;
  readonly pageCount: number;
  readonly pageSize: number;
  /** Cumulative checksum behind mxFrame. */
  readonly frameChecksum1: number;
  readonly frameChecksum2: number;
  /** How many frames a checkpoint has copied into the database file. */
  readonly backfilled: number;
}

const bytes = Buffer.alloc(WAL_INDEX_HEADER_BYTES);
const ATTEMPTS = 20;

/**
 * 'unused' when no connection uses the wal-index: none has the database open, or one keeps the index in its own
 * memory (locking_mode=EXCLUSIVE). Every connection that uses the file holds a shared lock on its "deadman
 * switch" byte; without one, the file is a left-over. 'unstable': it was being made or written each time we looked.
 */
export function readWalIndex(files: DatabaseFiles): WalIndexView | 'unstable' | 'unused' {
  if (files.couldLock('shm', 'write', DMS_BYTE, 1)) return 'unused';
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const read = files.read('shm', bytes, 0);
    if (read < WAL_INDEX_HEADER_BYTES) return 'unstable';
    const { header, consistent, checkpoint } = parseWalIndexHeader(bytes);
    if (!consistent) continue;
    return {
      salt1: header.salt1,
      salt2: header.salt2,
      mxFrame: header.mxFrame,
      pageCount: header.pageCount,
      pageSize: header.pageSize,
      frameChecksum1: header.frameChecksum1,
      frameChecksum2: header.frameChecksum2,
      backfilled: checkpoint.backfill,
    };
  }
  return 'unstable';
}
