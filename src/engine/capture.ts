/**
 * Capture on a primary: brings the log of a database up to what is committed, by whatever means its
 * present state allows. The one entrance to capture-wal.ts, capture-journal.ts and diff.ts.
 */
import fs from 'node:fs';
import { DB_HEADER_BYTES, parseDbHeader } from '../sqlite/db-header.ts';
import { treePath } from '../store/layout.ts';
import { captureJournal } from './capture-journal.ts';
import { captureWal } from './capture-wal.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { captureDifference } from './diff.ts';
import type { Task } from './scheduler.ts';
import { isBeingWritten } from './wal-index-file.ts';

/**
 * done: everything committed is captured; writing: somebody is at it; busy: locks keep us from reading it;
 * damaged: the file is no database any more, or not yet a whole one.
 */
export type CaptureOutcome = 'done' | 'writing' | 'busy' | 'damaged';

/**
 * `locked`: the caller knows that nobody can write the database file now (its writer waits for us).
 */
export function capture(
  ctx: EngineContext,
  db: Database,
  options: { locked: boolean },
): Task<CaptureOutcome> {
  return timed(ctx, db, captureCommitted(ctx, db, options));
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
  options: { locked: boolean },
): Task<CaptureOutcome> {
  db.files.closeReplaced();
  if (db.suspect) return yield* compare(ctx, db, options, 'it was changed past its journal');
  // Asked first: who holds the lock now may have published before we read the index.
  const writing = isBeingWritten(db.files);
  const result = yield* captureWal(ctx, db);
  if (result.kind === 'lost') return yield* compare(ctx, db, options, result.reason);
  if (db.position.txid === 0 && db.files.size('db') > 0) {
    return yield* compare(ctx, db, options, 'it is new');
  }
  return writing ? 'writing' : 'done';
}

function* captureJournaled(ctx: EngineContext, db: Database): Task<CaptureOutcome> {
  db.files.closeReplaced();
  const result = db.suspect ? 'compare' : yield* captureJournal(ctx, db);
  if (result !== 'compare') return 'done';
  return yield* compare(ctx, db, { locked: true }, 'its journal does not tell what changed');
}

/**
 * The database file was written. What is there that may tell of it: a journal that is open, or a -wal. A checkpoint comes
 * while there is a -wal, whose end is held back until that is seen.
 */
export function explanationOfWrites(
  ctx: EngineContext,
  db: Database,
): 'journal' | 'wal' | undefined {
  if (db.files.size('wal') > 0) return 'wal';
  return hasJournal(ctx, db) ? 'journal' : undefined;
}

/** Whether the database file says so: a -wal need not be there. */
export function isInWalMode(db: Database): boolean {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  return parseDbHeader(head)?.writeVersion === 2;
}

/** Whether a transaction with a rollback journal is open: the file exists and does not begin with a zero. */
function hasJournal(ctx: EngineContext, db: Database): boolean {
  let fd: number;
  try {
    fd = fs.openSync(treePath(ctx.layout.tree, `${db.name}-journal`), 'r');
  } catch {
    return false;
  }
  try {
    const first = Buffer.alloc(1);
    return fs.readSync(fd, first, 0, 1, 0) === 1 && first[0] !== 0;
  } finally {
    fs.closeSync(fd);
  }
}

function* compare(
  ctx: EngineContext,
  db: Database,
  options: { locked: boolean },
  reason: string,
): Task<CaptureOutcome> {
  const before = db.position.txid;
  const result = yield* captureDifference(ctx, db, options);
  if (result === 'captured' && before > 0) {
    ctx.log('debug', `compared every page of ${db.name}: ${reason}`, { database: db.name });
  }
  if (result === 'not-a-database' || result === 'incomplete') return 'damaged';
  return result === 'busy' ? 'busy' : 'done';
}
