/** Recomputes the checksum of every page from what a reader would see. */
import { LiteFsError } from '../errors.ts';
import { pageChecksum } from '../kernels/checksum.ts';
import { lockPageNumber } from '../sqlite/db-header.ts';
import { readCurrentPage } from './current-page.ts';
import type { Database } from './database.ts';
import type { VerifyResult } from './protocol.ts';
import type { Task } from './scheduler.ts';

const PAGES_PER_STEP = 512;
const BAD_PAGES_REPORTED_MAX = 20;
/** A page may be in the middle of a transaction: it is read again before it counts as bad. */
const SECOND_LOOKS = 200;
const SECOND_LOOK_REST_MS = 5;

export function* verifyDatabase(db: Database): Task<VerifyResult> {
  const position = db.position;
  const lockPage = lockPageNumber(db.pageSize);
  const page = Buffer.allocUnsafe(db.pageSize);
  const badPages: number[] = [];
  let checked = 0;
  let bad = 0;
  const isRight = (pgno: number): boolean => {
    readCurrentPage(db, pgno, page);
    return pageChecksum(pgno, page) === db.sums.get(pgno);
  };
  for (let pgno = 1; pgno <= db.pageCount; pgno++) {
    if (pgno === lockPage) continue;
    checked++;
    let right = isRight(pgno);
    for (let look = 0; !right && bad === 0 && look < SECOND_LOOKS; look++) {
      yield SECOND_LOOK_REST_MS;
      right = isRight(pgno);
    }
    if (!right && ++bad <= BAD_PAGES_REPORTED_MAX) badPages.push(pgno);
    if (checked % PAGES_PER_STEP === 0) yield;
  }
  if (page.length !== db.pageSize) {
    throw new LiteFsError('DATABASE_BUSY', `${db.name} changed its page size while it was read`);
  }
  const ok = bad === 0;
  const reason = ok ? undefined : `${bad} of ${checked} pages are not what their checksums say`;
  return { name: db.name, position, pagesChecked: checked, badPages, ok, reason };
}
