/**
 * Applies received transactions on a replica, as many at a time as have come. Each is checked (received.ts), stored in the
 * log, which is the redo log as well, and appended to the -wal, whatever journal mode page 1 asks for: SQLite reads a -wal
 * that exists. So no reader waits for us, and we wait for none.
 */
import assert from 'node:assert';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../../errors.ts';
import { LtxDecoder } from '../../ltx/decoder.ts';
import { decodeHeader, HEADER_BYTES } from '../../ltx/header.ts';
import type { Position } from '../../ltx/position.ts';
import { type ReadAt, readPostChecksum } from '../../ltx/tail.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { insist, sayDiskFault } from '../core/insist.ts';
import { type LtxInput, withLtxInput } from '../core/ltx-input.ts';
import { beginLogAnew } from '../core/saved-state.ts';
import { verifyStrictly } from '../read/verify.ts';
import { asTask, type Task } from '../tasks/scheduler.ts';
import { WalAppender } from './appender.ts';
import { checkpointIfLarge } from './checkpoints.ts';
import { keepUnknown } from './divergence.ts';
import { dropFiles, makeDatabase, makeMissingWal } from './new-database.ts';
import { type CheckedEntry, checkEntry } from './received.ts';
import { StagedImage } from './staged-image.ts';

export interface PendingApply {
  readonly input: LtxInput;
  done(error: unknown, position: Position | undefined): void;
}

/** Transactions that become visible with one publish, at most. */
const BATCH_ENTRIES_MAX = 256;
const PAGES_PER_STEP = 256;

/** Applies the whole queue, in order. After a failure what follows it is refused with the same error. */
export function* applyQueue(ctx: EngineContext, db: Database, queue: PendingApply[]): Task<void> {
  while (queue.length > 0) {
    const batch = queue.splice(0, BATCH_ENTRIES_MAX);
    let settled = 0;
    const startedMs = ctx.clockMs();
    try {
      db.files.refuseOthers();
      yield* makeMissingWal(ctx, db);
      const first = yield* check(db, batch[0].input);
      if (first.header.commit > 0 && db.wal.cursor) {
        settled = yield* appendBatch(ctx, db, batch, first);
      } else {
        yield* applyAlone(ctx, db, batch[0], first);
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
 * Appends what can be appended to the -wal and publishes it at once. Returns how many entries were taken: a drop, and a
 * change of the page size, ends the batch before it.
 */
function* appendBatch(
  ctx: EngineContext,
  db: Database,
  batch: readonly PendingApply[],
  first: CheckedEntry,
): Task<number> {
  const { pageSize } = first.header;
  const appender = yield* WalAppender.begin(ctx, db, pageSize);
  const taken: { pending: PendingApply; emit: () => void }[] = [];
  let failure: { error: unknown } | undefined;
  let pageCount = 0;
  db.shown = db.position;
  try {
    for (const pending of batch) {
      const checked = taken.length === 0 ? first : yield* check(db, pending.input);
      if (checked.header.commit === 0 || checked.header.pageSize !== pageSize) break;
      const emit = yield* appendEntry(ctx, db, appender, pending.input, checked);
      taken.push({ pending, emit });
      pageCount = checked.header.commit;
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
  yield* checkpointIfLarge(ctx, db);
  return taken.length;
}

/** Appends an entry and stores it in the log; what it returns tells the world. Throws DISK; then it is in neither. */
export function* appendEntry(
  ctx: EngineContext,
  db: Database,
  appender: WalAppender,
  input: LtxInput,
  checked: CheckedEntry,
): Task<() => void> {
  const mark = appender.mark();
  try {
    yield* eachPage(input, checked, (pgno, data, isLast) => {
      appender.frame(pgno, data, isLast ? checked.header.commit : 0);
    });
    if (checked.pgnos.length === 0) appender.repeatFirstPage(checked.header.commit);
    // The log may begin anew with it: what was appended before must be where the disk has it.
    if (checked.header.minTxid !== db.position.txid + 1) appender.write();
    return record(ctx, db, input, checked);
  } catch (error) {
    // What the log does not have must not be seen.
    appender.rewind(mark);
    throw error;
  }
}

/** The pages of an entry that was read before. */
export function* eachPage(
  input: LtxInput,
  { pgnos }: CheckedEntry,
  visit: (pgno: number, data: Uint8Array, isLast: boolean) => void,
): Task<void> {
  yield* withLtxInput(input, function* (source): Task<void> {
    const decoder = new LtxDecoder(source);
    let count = 0;
    for (let page = decoder.next(); page; page = decoder.next()) {
      visit(page.pgno, page.data, ++count === pgnos.length);
      if (count % PAGES_PER_STEP === 0) yield;
    }
    assert.equal(count, pgnos.length, 'pages of an entry that was read twice');
  });
}

export function* check(db: Database, input: LtxInput): Task<CheckedEntry> {
  try {
    return yield* checkEntry(db.name, input, db);
  } catch (error) {
    if (error instanceof LiteFsError && error.code === 'CHECKSUM_MISMATCH') {
      db.tally.checksumFailures++;
    }
    throw error;
  }
}

/** A new database, or the end of one: that waits for no reader, who keeps the files that are open; the name is free. */
function* applyAlone(
  ctx: EngineContext,
  db: Database,
  { input, done }: PendingApply,
  checked: CheckedEntry,
): Task<void> {
  const { pageSize, commit } = checked.header;
  if (commit > 0) {
    keepUnknown(ctx, db, checked.post);
    const image = new StagedImage(path.join(ctx.layout.spool, `new-${randomUUID()}`), pageSize);
    try {
      yield* eachPage(input, checked, (pgno, data) => image.put(pgno, data));
      const before = db.position;
      let emit = () => {};
      yield* makeDatabase(ctx, db, image, commit, () => {
        emit = record(ctx, db, input, checked);
        db.shown = before;
      });
      db.shown = undefined;
      emit();
    } finally {
      image.remove();
    }
    yield* verifyStrictly(ctx, db);
  } else {
    const emit = record(ctx, db, input, checked);
    yield* insist(ctx, db, () => asTask(() => dropFiles(db)));
    emit();
  }
  done(undefined, db.position);
}

/**
 * Stores the entry in the log and moves the database's state on to it. What it returns tells the world, and is
 * called once readers see the transaction: who waits for a position reads as soon as it hears of it.
 */
export function record(
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
