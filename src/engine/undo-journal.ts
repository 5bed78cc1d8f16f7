/**
 * Takes back a transaction with a rollback journal, as SQLite would from a hot one: writes back the pages that the
 * journal holds, and cuts the file to its old size. The caller knows that nobody reads or writes the file now.
 */
import { pageChecksum } from '../kernels/checksum.ts';
import { originalPages, parseJournal } from '../sqlite/journal.ts';
import { withTrueJournal } from './capture-journal.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import type { Task } from './scheduler.ts';
import { admit, verifyDatabase } from './verify.ts';

/**
 * SQLite does not journal what was free space. So some pages may not be what the primary has: then our position
 * says so, and they are fetched.
 */
export function* undoJournal(ctx: EngineContext, db: Database): Task<void> {
  const pageAt = (pgno: number) => {
    const page = Buffer.allocUnsafe(db.pageSize);
    return page.subarray(0, db.files.read('db', page, (pgno - 1) * page.length));
  };
  // What may have changed is found before anything is written back.
  const journal = withTrueJournal(db, (file) => parseJournal(file, pageAt));
  if (!journal) return;
  withTrueJournal(db, (file) => {
    const original = originalPages(file);
    if (!original) return;
    const { pageSize, originalPageCount, pages } = original;
    for (const { pgno, offset } of pages) {
      db.files.write('db', file.read(offset, pageSize), (pgno - 1) * pageSize);
    }
    const bytes = originalPageCount * pageSize;
    if (db.files.size('db') !== bytes) db.files.truncate('db', bytes);
  });
  db.files.sync('db');
  if (!journal.reliable || journal.pageSize !== db.pageSize) {
    yield* verifyDatabase(ctx, db);
    return;
  }
  const bad = new Map<number, bigint>();
  for (const pgno of journal.pageNumbers) {
    if (pgno > db.pageCount) continue;
    const sum = pageChecksum(pgno, pageAt(pgno));
    if (sum !== db.sums.get(pgno)) bad.set(pgno, sum);
  }
  if (bad.size > 0) admit(ctx, db, bad);
}
