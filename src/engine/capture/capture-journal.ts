/**
 * Capture of a transaction of the rollback-journal modes, at the moment its journal ends.
 *
 * The end of the journal (unlinked, truncated or its header zeroed) is the commit; the file system holds that
 * operation back while this runs, so its caller still has the database locked and the file is final. The journal
 * names the pages that were there before and may have changed; pages past the original size are
 * new. What did not change is dropped: a ROLLBACK ends a journal too.
 */
import { pageChecksum } from '../../kernels/checksum.ts';
import { DB_HEADER_BYTES, databasePageCount, parseDbHeader } from '../../sqlite/db-header.ts';
import { parseJournal } from '../../sqlite/journal.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { writeTransaction } from '../core/transaction-writer.ts';
import { withJournal } from '../read/journals.ts';
import type { Task } from '../tasks/scheduler.ts';

/** unchanged: rolled back, or a read; compare: only a comparison of every page can tell. */
export type JournalCaptureResult = 'captured' | 'unchanged' | 'compare';

/** Captures what the journal of a database tells; to be called while its end is held back. */
export function* captureJournal(ctx: EngineContext, db: Database): Task<JournalCaptureResult> {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  const read = db.files.read('db', head, 0);
  if (read === 0) return db.pageCount === 0 ? 'unchanged' : 'compare';
  const header = parseDbHeader(head);
  if (!header) return db.pageCount === 0 ? 'unchanged' : 'compare';
  const journal = withJournal(db, (file) =>
    parseJournal(file, (pgno) => {
      const page = Buffer.allocUnsafe(header.pageSize);
      return page.subarray(0, db.files.read('db', page, (pgno - 1) * page.length));
    }),
  );
  if (!journal) return header.changeCounter === db.changeCounter ? 'unchanged' : 'compare';
  const { pageSize } = header;
  const pageCount = databasePageCount(header, db.files.size('db'));
  if (!journal.reliable || pageSize !== db.pageSize || pageCount === 0) return 'compare';
  // It began with another database: this one was removed, and made anew.
  if (journal.originalPageCount !== db.pageCount) return 'compare';
  // One before it had no journal (journal_mode=MEMORY or OFF), and this one does not tell what that has changed.
  const counterBefore = journal.changeCounter ?? header.changeCounter;
  if (db.pageCount > 0 && counterBefore !== db.changeCounter) return 'compare';

  const candidates = candidatePages(journal.pageNumbers, db.pageCount, pageCount);
  const writer = writeTransaction(ctx, db, pageSize, pageCount);
  const page = Buffer.allocUnsafeSlow(pageSize);
  try {
    let seen = 0;
    for (const pgno of candidates) {
      db.files.read('db', page, (pgno - 1) * pageSize);
      const sum = pageChecksum(pgno, page);
      if (pgno > db.pageCount || sum !== db.sums.get(pgno)) writer.page(pgno, page, sum);
      if (++seen % 256 === 0) yield;
    }
    if (writer.pageCount === 0 && pageCount === db.pageCount) {
      writer.abort();
      return 'unchanged';
    }
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
  db.changeCounter = header.changeCounter;
  return 'captured';
}

/** Pages of the journal that still exist, and all pages past what was there before; ascending. */
function* candidatePages(
  journaled: Uint32Array,
  oldCount: number,
  newCount: number,
): Generator<number> {
  for (const pgno of journaled) if (pgno <= newCount && pgno <= oldCount) yield pgno;
  for (let pgno = oldCount + 1; pgno <= newCount; pgno++) yield pgno;
}
