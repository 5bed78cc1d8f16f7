/** Reads all pages of a database file, in large pieces. */
import { pageChecksum } from '../../kernels/checksum.ts';
import { lockPageNumber } from '../../sqlite/db-header.ts';
import type { Database } from '../core/database.ts';
import type { Task } from '../tasks/scheduler.ts';

const SCAN_BYTES = 1 << 20;

/** Calls back with the checksum of every page of the file, but the lock page; past its end pages are zero. */
export function* eachPageSum(
  db: Database,
  pageCount: number,
  visit: (pgno: number, sum: bigint) => void,
): Task<void> {
  const { pageSize } = db;
  const perChunk = Math.max(1, Math.floor(SCAN_BYTES / pageSize));
  const chunk = Buffer.allocUnsafeSlow(perChunk * pageSize);
  const lockPage = lockPageNumber(pageSize);
  for (let first = 1; first <= pageCount; first += perChunk) {
    const count = Math.min(perChunk, pageCount - first + 1);
    const read = db.files.read('db', chunk.subarray(0, count * pageSize), (first - 1) * pageSize);
    chunk.fill(0, read, count * pageSize);
    for (let i = 0; i < count; i++) {
      const pgno = first + i;
      if (pgno === lockPage) continue;
      visit(pgno, pageChecksum(pgno, chunk.subarray(i * pageSize, (i + 1) * pageSize)));
    }
    yield;
  }
}
