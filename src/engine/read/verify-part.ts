/**
 * A primary's pages are verified in parts, each a task of its own: what is captured meanwhile does not wait for all of them.
 * So each page is compared at its own moment, with what the history has for it at that moment. What was wrong when the
 * first part began, and is wrong when the last one ends, is found all the same.
 */
import { LiteFsError } from '../../errors.ts';
import { type Position, samePosition } from '../../ltx/position.ts';
import type { CaptureOutcome, EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import type { Task } from '../tasks/scheduler.ts';
import { BAD_PAGES_REPORTED_MAX, checkPages, type FlushStep } from './verify.ts';

const PART_PAGES = 1024;

/** Some of the pages of a primary. */
export interface VerifyPart {
  /** Where the database stood when they had been read. */
  readonly position: Position;
  readonly pageSize: number;
  readonly pagesChecked: number;
  readonly badCount: number;
  /** The first few of those. */
  readonly badPages: readonly number[];
  /** Where the next part begins; undefined: that was the last page. */
  readonly next: number | undefined;
}

/** Throws DATABASE_NOT_FOUND, DATABASE_BUSY, and WRONG_STATE of a database in quarantine. */
export function* verifyPart(
  ctx: EngineContext,
  db: Database,
  from: number,
  flush: FlushStep,
): Task<VerifyPart> {
  if (db.aside !== undefined) {
    throw new LiteFsError('WRONG_STATE', `${db.name} is in quarantine: ${db.aside}`);
  }
  if (from === 1) expectCaptured(db, yield* flush());
  if (db.pageCount === 0) {
    throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${db.name}`);
  }
  const { pageSize } = db;
  const last = from + PART_PAGES - 1;
  const { checked, bad } = yield* checkPages(ctx, db, flush, from, last);
  if (bad.size > 0) db.tally.checksumFailures++;
  return {
    position: db.position,
    pageSize,
    pagesChecked: checked,
    badCount: bad.size,
    badPages: [...bad.keys()].slice(0, BAD_PAGES_REPORTED_MAX),
    next: last < db.pageCount ? last + 1 : undefined,
  };
}

/** What is committed and not captured is neither in the table, nor where pages are read that a -wal has. */
function expectCaptured({ name }: Database, outcome: CaptureOutcome): void {
  if (outcome === 'done' || outcome === 'writing') return;
  throw new LiteFsError('DATABASE_BUSY', `what is committed to ${name} cannot be captured now`, {
    hint: '`litefs-lite status` there says what captures wait for.',
  });
}

/**
 * The checksum of the database as it was after a transaction; undefined when this node does not know it: it has not got there,
 * the log no longer reaches back, or has the transaction merged with others.
 */
export function checksumAfter({ position, log }: Database, txid: number): bigint | undefined {
  if (position.txid === txid) return position.checksum;
  // Of pages that were found wrong, or fetched: the log does not lead to what is here.
  if (!log.last || !samePosition(log.last.post, position)) return undefined;
  const [next] = log.entriesAfter(txid);
  return next?.pre.txid === txid ? next.pre.checksum : undefined;
}
