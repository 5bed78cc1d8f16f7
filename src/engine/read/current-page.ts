/** The newest captured (on a replica: applied) image of a page: its frame in the -wal, else the database file. */
import { frameOffset, WAL_FRAME_HEADER_BYTES } from '../../sqlite/wal.ts';
import type { Database } from '../core/database.ts';

/** Fills `into` (a page, or its beginning); zeros past the end of the file. */
export function readCurrentPage(db: Database, pgno: number, into: Buffer): void {
  if (pgno === 1 && db.halt?.page1) db.halt.page1.copy(into);
  else readStoredPage(db, pgno, into);
}

/** The same as the files have it, also where that is not what our position says (halt/halt.ts). */
export function readStoredPage(db: Database, pgno: number, into: Buffer): void {
  const frame = db.wal.frames.get(pgno);
  const read =
    frame === undefined
      ? db.files.read('db', into, (pgno - 1) * db.pageSize)
      : db.files.read('wal', into, frameOffset(frame, db.pageSize) + WAL_FRAME_HEADER_BYTES);
  if (read < into.length) into.fill(0, read);
}
