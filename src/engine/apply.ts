/**
 * Applies received transactions on a replica, as many at a time as have come. Each is checked
 * (received.ts), stored in the log, which is the redo log as well, and made visible the way the database's
 * journal mode asks for: appended to the -wal, or written to the file under SQLite's locks.
 */
import assert from 'node:assert';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import { LtxDecoder } from '../ltx/decoder.ts';
import { decodeHeader, HEADER_BYTES } from '../ltx/header.ts';
import type { Position } from '../ltx/position.ts';
import { type ReadAt, readPostChecksum } from '../ltx/tail.ts';
import { dropFiles, tryLeaveWalMode, writePages } from './apply-rollback.ts';
import { checkpointIfLarge } from './checkpoint.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { keepUnknown } from './divergence.ts';
import { insist, sayDiskFault } from './insist.ts';
import { type LtxInput, withLtxInput } from './ltx-input.ts';
import { type CheckedEntry, checkEntry } from './received.ts';
import { rest, untilRemovable, whenLookedUp } from './rest.ts';
import { beginLogAnew } from './saved-state.ts';
import { asTask, type Task } from './scheduler.ts';
import { forgetUnfinished, noteUnfinished } from './unfinished.ts';
import { goOverToWal, isNoticed, mayLeaveWal } from './unseen.ts';
import { verifyStrictly } from './verify.ts';
import { WalAppender } from './wal-appender.ts';

export interface PendingApply {
  readonly input: LtxInput;
  done(error: unknown, position: Position | undefined): void;
}

/** Transactions that become visible with one publish, at most. */
const BATCH_ENTRIES_MAX = 256;
const PAGES_PER_STEP = 256;
const LOCK_REST_MS = 1;

/** Applies the whole queue, in order. After a failure what follows it is refused with the same error. */
export function* applyQueue(ctx: EngineContext, db: Database, queue: PendingApply[]): Task<void> {
  while (queue.length > 0) {
    const batch = queue.splice(0, BATCH_ENTRIES_MAX);
    let settled = 0;
    const startedMs = ctx.clockMs();
    try {
      db.files.refuseOthers();
      if (db.files.mayBeHeldUp) yield* whenLookedUp(ctx, () => db.files.openAll());
      if (!db.wal.cursor && !(yield* isNoticed(db, batch[0].input))) {
        if (db.lent) throw unnoticed(db);
        yield* goOverToWal(ctx, db);
      }
      if (db.wal.cursor) {
        settled = yield* appendBatch(ctx, db, batch);
      } else {
        yield* applyAlone(ctx, db, batch[0]);
        settled = 1;
      }
      if (settled > 0) {
        db.tally.apply.add(ctx.clockMs() - startedMs);
        if (db.status.state === 'degraded') ctx.setStatus(db, { state: 'ok' });
      }
      queue.unshift(...batch.slice(settled));
    } catch (thrown) {
      const error = thrown instanceof BatchError ? thrown.cause : thrown;
      const done = thrown instanceof BatchError ? thrown.settled : undefined;
      sayDiskFault(ctx, db, error);
      for (const pending of batch.slice(settled)) {
        if (!done?.has(pending)) pending.done(error, undefined);
      }
      for (const pending of queue.splice(0)) pending.done(error, undefined);
    }
  }
}

/** Whether an entry is in our history: a transaction that was made here under the halt lock comes back as one. */
export function isKnown(db: Database, input: LtxInput): boolean {
  try {
    return readLtxFile(input, (length, readAt) => {
      const bytes = Buffer.alloc(HEADER_BYTES);
      readAt(bytes, 0);
      const header = decodeHeader(bytes);
      if (header.maxTxid > db.position.txid) return false;
      const checksum = readPostChecksum(header, length, readAt);
      return db.log.contains({ txid: header.maxTxid, checksum });
    });
  } catch (error) {
    // What is wrong with it is found when it is applied.
    if (error instanceof LiteFsError) return false;
    throw error;
  }
}

function readLtxFile<T>(input: LtxInput, use: (length: number, readAt: ReadAt) => T): T {
  if ('bytes' in input) {
    const bytes = Buffer.from(input.bytes.buffer, input.bytes.byteOffset, input.bytes.length);
    return use(bytes.length, (into, offset) => bytes.copy(into, 0, offset));
  }
  const fd = fs.openSync(input.path, 'r');
  try {
    const length = fs.fstatSync(fd).size;
    return use(length, (into, offset) => fs.readSync(fd, into, 0, into.length, offset));
  } finally {
    fs.closeSync(fd);
  }
}

/** A failure in the middle of a batch, of which the beginning has been applied. */
class BatchError extends Error {
  readonly settled: ReadonlySet<PendingApply>;

  constructor(cause: unknown, settled: ReadonlySet<PendingApply>) {
    super('a transaction of a batch failed', { cause });
    this.settled = settled;
  }
}

/**
 * Appends what can be appended to the -wal and publishes it at once. Returns how many entries were taken: an
 * entry of another page size, or a drop, ends the batch before it.
 */
function* appendBatch(
  ctx: EngineContext,
  db: Database,
  batch: readonly PendingApply[],
): Task<number> {
  const appender = yield* beginAppend(ctx, db);
  const taken: { pending: PendingApply; checked: CheckedEntry; emit: () => void }[] = [];
  let failure: { error: unknown } | undefined;
  let stoppedBy: CheckedEntry | undefined;
  let pageCount = db.pageCount;
  db.shown = db.position;
  try {
    for (const pending of batch) {
      const checked = yield* check(db, pending.input);
      const { commit, pageSize } = checked.header;
      if (commit === 0 || pageSize !== db.pageSize) {
        stoppedBy = checked;
        break;
      }
      const mark = appender.mark();
      yield* appendPages(appender, pending.input, checked);
      try {
        const emit = record(ctx, db, pending.input, checked);
        taken.push({ pending, checked, emit });
      } catch (error) {
        // What the log does not have must not be seen.
        appender.rewind(mark);
        throw error;
      }
      pageCount = commit;
    }
  } catch (error) {
    failure = { error };
  }
  if (taken.length === 0) appender.abort();
  else yield* insist(ctx, db, () => asTask(() => appender.publish(pageCount)));
  db.shown = undefined;
  for (const { emit } of taken) emit();
  try {
    if (taken.length > 0) yield* verifyStrictly(ctx, db);
  } catch (error) {
    throw new BatchError(error, new Set());
  }
  for (const { pending } of taken) pending.done(undefined, db.position);
  if (failure) throw new BatchError(failure.error, new Set(taken.map(({ pending }) => pending)));
  if (taken.length === 0) {
    if (stoppedBy?.header.commit === 0) {
      yield* applyDrop(ctx, db, batch[0], stoppedBy);
      return 1;
    }
    // A new page size: that is for the file itself.
    yield* applyAlone(ctx, db, batch[0]);
    return 1;
  }
  yield* checkpointIfLarge(ctx, db);
  if (taken.some(({ checked }) => checked.pgnos[0] === 1)) db.leavesWal = mayLeaveWal(db);
  if (db.leavesWal) yield* tryLeaveWalMode(db);
  return taken.length;
}

function* check(db: Database, input: LtxInput): Task<CheckedEntry> {
  try {
    return yield* checkEntry(db.name, input, db);
  } catch (error) {
    if (error instanceof LiteFsError && error.code === 'CHECKSUM_MISMATCH') {
      db.tally.checksumFailures++;
    }
    throw error;
  }
}

function* beginAppend(ctx: EngineContext, db: Database): Task<WalAppender> {
  for (;;) {
    const appender = WalAppender.begin(ctx, db);
    if (appender) return appender;
    yield* rest(ctx, LOCK_REST_MS);
  }
}

function* appendPages(appender: WalAppender, input: LtxInput, checked: CheckedEntry): Task<void> {
  const mark = appender.mark();
  try {
    yield* withLtxInput(input, function* (source): Task<void> {
      const decoder = new LtxDecoder(source);
      const last = checked.pgnos.length;
      let count = 0;
      for (let page = decoder.next(); page; page = decoder.next()) {
        appender.frame(page.pgno, page.data, ++count === last ? checked.header.commit : 0);
        if (count % PAGES_PER_STEP === 0) yield;
      }
      assert.equal(count, last, 'pages of an entry that was read twice');
      if (last === 0) appender.repeatFirstPage(checked.header.commit);
    });
  } catch (error) {
    appender.rewind(mark);
    throw error;
  }
}

/**
 * A drop waits for no reader: who still reads keeps the files that are open, and the name is free. But it waits until this
 * node has no halt lock.
 */
function* applyDrop(
  ctx: EngineContext,
  db: Database,
  pending: PendingApply,
  checked: CheckedEntry,
): Task<void> {
  yield* untilRemovable(ctx, db.files);
  const emit = record(ctx, db, pending.input, checked);
  yield* insist(ctx, db, () => asTask(() => dropFiles(db)));
  emit();
  pending.done(undefined, db.position);
}

/** One entry outside of WAL mode: a new database, a rollback-journal mode, a new page size, a drop. */
function* applyAlone(ctx: EngineContext, db: Database, pending: PendingApply): Task<void> {
  const checked = yield* check(db, pending.input);
  const { header } = checked;
  if (header.commit === 0) {
    yield* applyDrop(ctx, db, pending, checked);
    return;
  }
  yield* keepUnknown(ctx, db, checked.post);
  let emit = () => {};
  yield* writePages(ctx, db, {
    pageSize: header.pageSize,
    pageCount: header.commit,
    *pages(write) {
      yield* withLtxInput(pending.input, function* (source): Task<void> {
        const decoder = new LtxDecoder(source);
        for (let page = decoder.next(), count = 1; page; page = decoder.next(), count++) {
          write(page.pgno, page.data);
          if (count % PAGES_PER_STEP === 0) yield;
        }
      });
    },
    beforeWriting() {
      const before = db.position;
      if (db.lent) noteUnfinished(db, header.maxTxid);
      try {
        emit = record(ctx, db, pending.input, checked);
      } catch (error) {
        // Else the note would be of the next transaction that gets its number.
        if (db.lent) forgetUnfinished(db);
        throw error;
      }
      db.shown = before;
    },
  });
  if (db.lent) yield* insist(ctx, db, () => asTask(() => forgetUnfinished(db)));
  db.shown = undefined;
  emit();
  yield* verifyStrictly(ctx, db);
  pending.done(undefined, db.position);
}

/**
 * Stores the entry in the log and moves the database's state on to it. What it returns tells the world, and is
 * called once readers see the transaction: who waits for a position reads as soon as it hears of it.
 */
function record(
  ctx: EngineContext,
  db: Database,
  input: LtxInput,
  checked: CheckedEntry,
): () => void {
  const { header, post } = checked;
  // A compacted entry that begins before our position is what the log starts with from now on.
  if (header.minTxid !== db.position.txid + 1) beginLogAnew(db, db);
  const entry =
    'bytes' in input
      ? db.log.append(input.bytes, header, post, ctx.clockMs())
      : db.log.appendFile(keepFile(ctx, input.path), header, post);
  if (db.pageSize !== header.pageSize) db.sums.clear();
  db.pageSize = header.pageSize;
  db.sums.resize(header.commit);
  for (let i = 0; i < checked.pgnos.length; i++) {
    db.sums.set(checked.pgnos[i], checked.sums[i]);
    for (const listener of db.changeListeners) listener.changed(checked.pgnos[i]);
  }
  assert(db.sums.checksum === post.checksum, `checksum of ${db.name} after ${post.txid}`);
  db.tally.committed(header.maxTxid - db.position.txid, checked.pgnos.length);
  db.position = post;
  return () => ctx.emitEntry(db, entry, 'bytes' in input ? input.bytes : undefined);
}

/** The log takes the file over; the pages are still read from it: a second name keeps it. */
function keepFile(ctx: EngineContext, file: string): string {
  const second = path.join(ctx.layout.spool, `log-${randomUUID()}`);
  fs.linkSync(file, second);
  return second;
}

/** A writer here that has pages in its cache would go on from them. */
function unnoticed({ name }: Database): LiteFsError {
  const message = `${name}: a transaction under locking_mode=EXCLUSIVE would go unnoticed by connections to the primary`;
  const hint = 'Use locking_mode=NORMAL under the halt lock.';
  return new LiteFsError('WRONG_STATE', message, { hint });
}
