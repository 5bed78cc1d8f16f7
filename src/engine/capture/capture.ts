/**
 * Capture on a primary: brings the log of a database up to what is committed, by whatever means its
 * present state allows. The one entrance to capture-wal.ts, capture-journal.ts and diff.ts.
 */

import type { CaptureOutcome, EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import type { ReadAccess } from '../read/consistent-read.ts';
import type { Task } from '../tasks/scheduler.ts';
import { isBeingWritten, isHeldExclusively } from '../wal/lock-looks.ts';
import { captureJournal } from './capture-journal.ts';
import { captureHeld, captureWal, endHeld, type HeldOperation } from './capture-wal.ts';
import { captureDifference } from './diff.ts';
import { lost, type WalCaptureResult } from './wal-entries.ts';

/** `held`: an operation that is held back until everything is captured that it would end. */
export function capture(
  ctx: EngineContext,
  db: Database,
  held?: HeldOperation,
): Task<CaptureOutcome> {
  return timed(ctx, db, captureCommitted(ctx, db, held));
}

/** The end of a journal: to be called while that operation is held back. */
export function captureAtJournalEnd(ctx: EngineContext, db: Database): Task<CaptureOutcome> {
  return timed(ctx, db, captureJournaled(ctx, db));
}

/** Takes the time of a capture that finds something. */
function* timed(
  ctx: EngineContext,
  db: Database,
  task: Task<CaptureOutcome>,
): Task<CaptureOutcome> {
  const [startedMs, before] = [ctx.clockMs(), db.position.txid];
  const outcome = yield* task;
  if (db.position.txid !== before) db.tally.capture.add(ctx.clockMs() - startedMs);
  return outcome;
}

function* captureCommitted(
  ctx: EngineContext,
  db: Database,
  held: HeldOperation | undefined,
): Task<CaptureOutcome> {
  db.files.closeReplaced();
  // A -wal that has outlived its database is nothing by itself.
  const isThere = db.files.exists('db');
  if (!isThere && db.pageCount === 0) return 'done';
  if (isThere) db.files.refuseOthers();
  // Asked first: who holds the lock now may have published before we read the index.
  const writing = !held && isBeingWritten(db);
  const doubt = yield* doubtOf(ctx, db, held);
  let outcome: CaptureOutcome = writing ? 'writing' : 'done';
  if (doubt?.kind === 'lost') {
    outcome = yield* compare(ctx, db, accessUnder(db, held), doubt.reason);
  } else if (doubt) {
    db.obstacle = doubt.reason;
    outcome = 'busy';
  }
  if (held) yield* endHeld(ctx, db, held);
  guardWal(ctx, db, held);
  return outcome;
}

/** Where no sync of the -wal will be held back for us, what is in it is held until it is captured. */
function guardWal(ctx: EngineContext, db: Database, held: HeldOperation | undefined): void {
  const { guard, isUnsynced } = db.wal;
  if (isUnsynced && (!held || held === 'header-sync')) guard.advance(ctx, db);
  else guard.release(db);
}

/** Captures what the -wal tells. Returns why that is not enough; undefined when it is. */
function* doubtOf(
  ctx: EngineContext,
  db: Database,
  held: HeldOperation | undefined,
): Task<Exclude<WalCaptureResult, { kind: 'captured' }> | undefined> {
  if (db.suspicion !== undefined) return lost(db.suspicion);
  const result = yield* held ? captureHeld(ctx, db, held) : captureWal(ctx, db);
  if (result.kind === 'lost') db.suspicion = result.reason;
  if (result.kind !== 'captured') return result;
  return db.position.txid === 0 && db.files.size('db') > 0 ? lost('it is new') : undefined;
}

/** The last connection that closes has brought everything into the file, and has that to itself. */
function accessUnder(db: Database, held: HeldOperation | undefined): ReadAccess {
  const isRemoval = held === 'remove-shm' || held === 'remove-wal';
  return isRemoval && isHeldExclusively(db.files) === true ? 'file' : 'shared';
}

function* captureJournaled(ctx: EngineContext, db: Database): Task<CaptureOutcome> {
  db.files.closeReplaced();
  const result = db.suspicion === undefined ? yield* captureJournal(ctx, db) : 'compare';
  if (result !== 'compare') return 'done';
  const reason = db.suspicion ?? 'its journal does not tell what changed';
  return yield* compare(ctx, db, 'file', reason);
}

function* compare(
  ctx: EngineContext,
  db: Database,
  access: ReadAccess,
  reason: string,
): Task<CaptureOutcome> {
  const before = db.position.txid;
  const result = yield* captureDifference(ctx, db, access);
  if ((result === 'captured' || result === 'unchanged') && before > 0) {
    db.tally.comparisons++;
    const found = result === 'captured' ? 'some differ' : 'none differs';
    ctx.log('debug', `compared every page of ${db.name}, of which ${found}: ${reason}`, {
      database: db.name,
      txid: db.position.txid,
    });
  }
  if (result === 'not-a-database' || result === 'incomplete') return 'damaged';
  return result === 'busy' || result === 'again' ? result : 'done';
}
