/**
 * Recomputes the checksum of every page from what a reader would see. On a primary its apps go on writing: a page that
 * does not match may be newer than what has been captured, so it is captured and looked at again.
 */
import { LiteFsError } from '../errors.ts';
import { pageChecksum } from '../kernels/checksum.ts';
import { lockPageNumber } from '../sqlite/db-header.ts';
import type { CaptureOutcome } from './capture.ts';
import type { EngineContext } from './context.ts';
import { readCurrentPage } from './current-page.ts';
import type { Database } from './database.ts';
import type { VerifyResult } from './protocol.ts';
import { rest } from './rest.ts';
import type { Task } from './scheduler.ts';

const PAGES_PER_STEP = 512;
const BAD_PAGES_REPORTED_MAX = 20;
/** A page may belong to a transaction that is open: it is read again before it counts as bad. */
const SECOND_LOOKS = 200;
const SECOND_LOOK_REST_MS = 5;

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
  const { checked, bad } = yield* checkPages(ctx, db, flush);
  const { name, position } = db;
  const badPages = [...bad.keys()].slice(0, BAD_PAGES_REPORTED_MAX);
  if (bad.size === 0) return { name, position, pagesChecked: checked, badPages, ok: true };
  db.tally.checksumFailures++;
  if (!flush) admit(ctx, db, bad);
  const reason = `${bad.size} of ${checked} pages are not what their checksums say`;
  return { name, position, pagesChecked: checked, badPages, ok: false, reason };
}

/**
 * strict-verify: after each transaction everything is read again.
 * @throws LiteFsError CHECKSUM_MISMATCH
 */
export function* verifyStrictly(ctx: EngineContext, db: Database, flush?: FlushStep): Task<void> {
  if (!ctx.strictVerify) return;
  const { ok, reason, position } = yield* verifyDatabase(ctx, db, flush);
  if (ok) return;
  throw new LiteFsError('CHECKSUM_MISMATCH', `${db.name} after ${position.txid}: ${reason}`, {
    hint: 'Is the disk failing, or was the data directory written to from outside of the mount?',
  });
}

function* checkPages(
  ctx: EngineContext,
  db: Database,
  flush: FlushStep | undefined,
): Task<Findings> {
  const { pageSize } = db;
  const lockPage = lockPageNumber(pageSize);
  const page = Buffer.allocUnsafe(pageSize);
  const bad = new Map<number, bigint>();
  let checked = 0;
  for (let pgno = 1; pgno <= db.pageCount; pgno++) {
    if (pgno === lockPage) continue;
    checked++;
    for (let look = 0; ; look++) {
      readCurrentPage(db, pgno, page);
      const sum = pageChecksum(pgno, page);
      if (sum === db.sums.get(pgno)) break;
      if (!flush || bad.size > 0 || look > SECOND_LOOKS) {
        bad.set(pgno, sum);
        break;
      }
      if (look > 0) yield* rest(ctx, SECOND_LOOK_REST_MS);
      yield* flush();
      if (db.pageSize !== pageSize) {
        throw new LiteFsError('DATABASE_BUSY', `${db.name} was replaced while it was read`);
      }
      if (pgno > db.pageCount) break;
    }
    if (checked % PAGES_PER_STEP === 0) yield;
  }
  return { checked, bad };
}

export function admit(ctx: EngineContext, db: Database, bad: ReadonlyMap<number, bigint>): void {
  for (const [pgno, sum] of bad) db.sums.set(pgno, sum);
  db.position = { txid: db.position.txid, checksum: db.sums.checksum };
  ctx.log('error', `${db.name} has ${bad.size} damaged pages: they are fetched from the primary`, {
    database: db.name,
  });
  ctx.emitPosition(db);
}
