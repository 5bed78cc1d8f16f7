/** Pages of a batch of -wal frames: which they are, where they are read, and how they go into an entry. */
import { pageChecksum } from '../../kernels/checksum.ts';
import { frameOffset, WAL_FRAME_HEADER_BYTES } from '../../sqlite/wal.ts';
import type { Database } from '../core/database.ts';
import type { TransactionWriter } from '../core/transaction-writer.ts';

/** Frames whose newest images make a new state. */
export interface FrameBatch {
  readonly pageSize: number;
  /** The newest frame of each page. */
  readonly frames: ReadonlyMap<number, number>;
  /** Size of the database behind it, in pages. */
  readonly commit: number;
}

/** Leaves out a page that is what it was, as most are when a copy is restored over a database; never the first one. */
export function writePage(
  db: Database,
  writer: TransactionWriter,
  pgno: number,
  data: Uint8Array,
): void {
  const sum = pageChecksum(pgno, data);
  const isKnown = db.pageSize === data.length && pgno <= db.pageCount;
  if (isKnown && writer.pageCount > 0 && sum === db.sums.get(pgno)) return;
  writer.page(pgno, data, sum);
}

/**
 * The page numbers of a batch, ascending. Pages that the database has grown by and that no frame holds
 * (allocated and freed in one transaction) belong to it too.
 */
export function pagesToWrite(db: Database, { pageSize, frames, commit }: FrameBatch): number[] {
  const pages: number[] = [];
  for (const pgno of frames.keys()) if (pgno <= commit) pages.push(pgno);
  const grownFrom = db.pageSize === pageSize ? db.pageCount : 0;
  for (let pgno = grownFrom + 1; pgno <= commit; pgno++) if (!frames.has(pgno)) pages.push(pgno);
  return pages.sort((a, b) => a - b);
}

/** What a reader sees in a page that the batch did not write: an older frame, the file, or zeros. */
export function readUnwrittenPage(db: Database, pgno: number, into: Buffer): void {
  into.fill(0);
  const frame = db.wal.frames.get(pgno);
  if (frame !== undefined) {
    db.files.read('wal', into, frameOffset(frame, into.length) + WAL_FRAME_HEADER_BYTES);
  } else {
    db.files.read('db', into, (pgno - 1) * into.length);
  }
}
