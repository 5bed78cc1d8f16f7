/**
 * Recomputes the checksum of every page from what a reader would see. On a primary its apps go on writing: a page that
 * does not match may be newer than what has been captured, so it is captured and looked at again.
 */
import { LiteFsError } from '../../errors.ts';
import { pageChecksum } from '../../kernels/checksum.ts';
import type { Position } from '../../ltx/position.ts';
import { lockPageNumber } from '../../sqlite/db-header.ts';
import type { CaptureOutcome, EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { rest } from '../tasks/rest.ts';
import type { Task } from '../tasks/scheduler.ts';
import { readCurrentPage } from './current-page.ts';
import { explanationOfWrites } from './journals.ts';

const PAGES_PER_STEP = 512;
export const BAD_PAGES_REPORTED_MAX = 20;
/** A page is wrong when it looks the same and does not match this often in a row, with all captured in between. */
const LOOKS = 3;
const LOOK_REST_MS = 5;

/** What came of reading all pages. */
export interface VerifyResult {
  readonly name: string;
  readonly position: Position;
  readonly pagesChecked: number;
  /** Pages whose content is not what the checksums say; the first few. */
  readonly badPages: readonly number[];
  readonly ok: boolean;
  readonly reason?: string;
}

/** Captures what is committed now. */
export type FlushStep = () => Task<CaptureOutcome>;

interface Findings {
  readonly checked: number;
  /** Checksum of the content of each page that is not what it should be. */
  readonly bad: ReadonlyMap<number, bigint>;
}

/**
 * `flush`: on a primary. A replica that finds itself wrong admits it: its checksums are then those of what it really
 * has, so that the next transaction is refused and the pages that differ are fetched.
 */
export function* verifyDatabase(
  ctx: EngineContext,
  db: Database,
  flush?: FlushStep,
): Task<VerifyResult> {
  const { checked, bad } = yield* checkPages(ctx, db, flush, 1, Number.POSITIVE_INFINITY);
  const { name, position } = db;
  const badPages = [...bad.keys()].slice(0, BAD_PAGES_REPORTED_MAX);
  if (bad.size === 0) return { name, position, pagesChecked: checked, badPages, ok: true };
  db.tally.checksumFailures++;
  if (!flush) admit(ctx, db, bad);
  const reason = `${bad.size} of ${checked} pages are not what their checksums say`;
  return { name, position, pagesChecked: checked, badPages, ok: false, reason };
}

/**
 * strict-verify: after each transaction everything is read again. What the next one holds already cannot be told now, and is read
 * after that.
 * @throws LiteFsError CHECKSUM_MISMATCH
 */
export function* verifyStrictly(ctx: EngineContext, db: Database, flush?: FlushStep): Task<void> {
  if (!ctx.strictVerify) return;
  let result: VerifyResult;
  try {
    result = yield* verifyDatabase(ctx, db, flush);
  } catch (error) {
    if (error instanceof LiteFsError && error.code === 'DATABASE_BUSY') return;
    throw error;
  }
  const { ok, reason, position } = result;
  if (ok) return;
  throw new LiteFsError('CHECKSUM_MISMATCH', `${db.name} after ${position.txid}: ${reason}`, {
    hint: 'Is the disk failing, or was the data directory written to from outside of the mount?',
  });
}

/** Compares the pages `first` to `last`, as far as there are so many. Throws DATABASE_BUSY when that cannot be told. */
export function* checkPages(
  ctx: EngineContext,
  db: Database,
  flush: FlushStep | undefined,
  first: number,
  last: number,
): Task<Findings> {
  const { pageSize } = db;
  const lockPage = lockPageNumber(pageSize);
  const page = Buffer.allocUnsafe(pageSize);
  const bad = new Map<number, bigint>();
  let checked = 0;
  for (let pgno = first; pgno <= Math.min(last, db.pageCount); pgno++) {
    if (pgno === lockPage) continue;
    checked++;
    if (pageSum(db, pgno, page) !== db.sums.get(pgno)) {
      // Many bad pages are not looked at one by one.
      const isWrong =
        !flush ||
        bad.size >= BAD_PAGES_REPORTED_MAX ||
        (yield* isWrongPage(ctx, db, pgno, page, flush));
      if (isWrong) bad.set(pgno, pageSum(db, pgno, page));
      if (db.pageSize !== pageSize) {
        throw new LiteFsError('DATABASE_BUSY', `${db.name} was replaced while it was read`);
      }
    }
    if (checked % PAGES_PER_STEP === 0) yield;
  }
  return { checked, bad };
}

/** Throws DATABASE_BUSY when that cannot be told. */
function* isWrongPage(
  ctx: EngineContext,
  db: Database,
  pgno: number,
  page: Buffer,
  flush: FlushStep,
): Task<boolean> {
  const found = yield* lookAgain(ctx, db, pgno, page, flush);
  if (found !== 'cannot tell') return found === 'wrong';
  throw new LiteFsError(
    'DATABASE_BUSY',
    `page ${pgno} of ${db.name} is held by an open transaction, or cannot be captured`,
    { hint: 'Try again when that has ended; `litefs-lite status` says what captures wait for.' },
  );
}

/**
 * On a primary: what a page that did not match is, with all captured that is committed. `page` is filled with it. A page that
 * is not there any more is well.
 */
export function* lookAgain(
  ctx: EngineContext,
  db: Database,
  pgno: number,
  page: Buffer,
  flush: FlushStep,
): Task<'well' | 'wrong' | 'cannot tell'> {
  let before: bigint | undefined;
  for (let look = 0; look < LOOKS; look++) {
    if (look > 0) yield* rest(ctx, LOOK_REST_MS);
    const outcome = yield* flush();
    if (db.pageSize !== page.length || pgno > db.pageCount) return 'well';
    const sum = pageSum(db, pgno, page);
    if (sum === db.sums.get(pgno)) return 'well';
    const mayBeOpen = outcome !== 'done' || db.writes.any || explanationOfWrites(db) === 'journal';
    if (mayBeOpen || (before !== undefined && before !== sum)) return 'cannot tell';
    before = sum;
  }
  return 'wrong';
}

/** Reads a page as readers see it. */
export function pageSum(db: Database, pgno: number, page: Buffer): bigint {
  readCurrentPage(db, pgno, page);
  return pageChecksum(pgno, page);
}

export function admit(ctx: EngineContext, db: Database, bad: ReadonlyMap<number, bigint>): void {
  for (const [pgno, sum] of bad) db.sums.set(pgno, sum);
  db.position = { txid: db.position.txid, checksum: db.sums.checksum };
  ctx.log('error', `${db.name} has ${bad.size} damaged pages: they are fetched from the primary`, {
    database: db.name,
  });
  ctx.emitPosition(db);
}
