/**
 * The halt lock on the replica that has it: apps write one database, and each of their transactions is held back where it would
 * become a commit until the primary has it (borrowed-commit.ts). What the primary refuses its app gets an error for. One
 * database at a time.
 *
 * A replica always has a -wal, which SQLite goes by whatever page 1 says: so what they write is always frames.
 *
 * What the mount holds back is served in a lane of its own: what the primary sends waits in the database's lane until
 * nobody can be in a transaction any more.
 */
import fs from 'node:fs';
import { errorText, isOutsideFault, LiteFsError } from '../../errors.ts';
import type { DeferredOperation, Resumption } from '../../fuse/policy.ts';
import { formatPosition, type Position, samePosition } from '../../ltx/position.ts';
import type { SharedState } from '../../mount/shared-state.ts';
import { errno } from '../../os/libc.ts';
import { ofdLock } from '../../os/locks.ts';
import { SHARED_FIRST, SHARED_SIZE } from '../../sqlite/locks.ts';
import { frameOffset } from '../../sqlite/wal.ts';
import { WalAppender } from '../apply/appender.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { sayDiskFault } from '../core/insist.ts';
import type { LtxInput } from '../core/ltx-input.ts';
import type { TransactionWriter } from '../core/transaction-writer.ts';
import type { Scheduler, Task } from '../tasks/scheduler.ts';
import { commitWal, restartWal } from './borrowed-commit.ts';
import { type Halt, HaltRefused } from './halt.ts';

export interface HaltBorrowerParts {
  readonly ctx: EngineContext;
  readonly scheduler: Scheduler;
  readonly shared: SharedState;
  /** Has the primary asked; answer() brings what it says. */
  readonly ask: (database: string, commit: number, source: LtxInput) => void;
}

const LOCK_REST_MS = 5;
const LOCK_MS_MAX = 2000;
const CLOSE_REST_MS = 10;
/** After this long with somebody in a transaction, the log says so. */
const PATIENCE_MS = 5000;
const ANSWER_LOOK_MS = 1000;

export class HaltBorrower {
  readonly #parts: HaltBorrowerParts;
  #current: { readonly db: Database; readonly halt: Halt } | undefined;
  #nextCommit = 1;
  #detached = false;

  constructor(parts: HaltBorrowerParts) {
    this.#parts = parts;
  }

  /** Throws WRONG_STATE, DATABASE_BUSY; then nothing has changed. */
  *begin(db: Database, position: Position): Task<void> {
    const { ctx, shared } = this.#parts;
    if (this.#current) {
      throw new LiteFsError(
        'WRONG_STATE',
        `this node has the halt lock of ${this.#current.db.name}, or is giving it back`,
      );
    }
    if (!samePosition(db.position, position)) {
      throw new LiteFsError(
        'WRONG_STATE',
        `${db.name} is at ${formatPosition(db.position)} here, on the primary at ${formatPosition(position)}`,
      );
    }
    const halt: Halt = {
      guard: yield* this.#guard(db),
      closing: undefined,
      pending: undefined,
      page1: undefined,
      end: (writer) => this.#end(db, halt, writer),
    };
    db.files.openAll();
    db.halt = halt;
    this.#current = { db, halt };
    this.#noteWal(db);
    shared.setHalt('open', db.name);
    ctx.log('info', `${db.name} may be written here: the primary holds its lock for this node`, {
      database: db.name,
    });
  }

  /** Serves a held operation of a database that has a halt. Does not throw for what is no bug. */
  *serve(db: Database, operation: DeferredOperation): Task<Omit<Resumption, 'token'>> {
    if (operation.kind === 'open') return DONE;
    const halt = this.#haltOf(db);
    if (!halt) return { errno: errno.EIO };
    try {
      yield* this.#serveWal(db, halt, operation);
      this.#noteWal(db);
      return DONE;
    } catch (error) {
      if (!isOutside(error)) throw error;
      const text = `${db.name}: a transaction is refused: ${errorText(error)}`;
      this.#parts.ctx.log('warn', text, { database: db.name });
      return { errno: errno.EIO };
    }
  }

  /** What has become of a commit. */
  answer(db: Database, commit: number, error: string | undefined): void {
    const { pending } = this.#haltOf(db) ?? {};
    if (pending?.commit !== commit) return;
    pending.answer = { error };
    this.#parts.scheduler.wake(laneOf(db));
  }

  /** Nothing more is committed. Goes on in the background until nobody is in a transaction. */
  end(db: Database, reason: string): void {
    const halt = this.#haltOf(db);
    if (!halt || halt.closing !== undefined) return;
    const { ctx, shared, scheduler } = this.#parts;
    halt.closing = reason;
    shared.setHalt('closing');
    ctx.log('info', `${db.name} is read-only again: ${reason}`, { database: db.name });
    scheduler.wake(laneOf(db));
    this.#closeLater(db, halt, ctx.clockMs(), 0);
  }

  /** The node stops: whoever waits is refused, and the next start compares every page. */
  detach(): void {
    this.#detached = true;
    if (!this.#current) return;
    const { db, halt } = this.#current;
    db.suspicion = 'the node stopped while it had the halt lock';
    this.end(db, 'the node stops');
    if (halt.pending) halt.pending.answer ??= { error: 'the node stops' };
    fs.closeSync(halt.guard);
  }

  #haltOf(db: Database): Halt | undefined {
    return this.#current?.db === db ? this.#current.halt : undefined;
  }

  /** SHARED on the file, so that no app takes -wal and -shm away; and the wal-index is what it should be. */
  *#guard(db: Database): Task<number> {
    const { ctx } = this.#parts;
    const untilMs = ctx.clockMs() + LOCK_MS_MAX;
    const fd = db.files.openAgain('db');
    if (fd === undefined) throw busy(db, 'it is not there');
    try {
      for (;;) {
        if (ofdLock(fd, 'read', SHARED_FIRST, SHARED_SIZE) && db.owner.take(db.pageCount)) {
          db.owner.release();
          return fd;
        }
        if (ctx.clockMs() > untilMs) throw busy(db, 'an application keeps it locked');
        yield LOCK_REST_MS;
      }
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  *#serveWal(db: Database, halt: Halt, operation: DeferredOperation): Task<void> {
    if (halt.closing !== undefined) throw new HaltRefused(halt.closing);
    const { kind, offset = 0, data } = operation;
    if (kind !== 'write' || !data) return;
    if (offset === 0) restartWal(db, data);
    else yield* commitWal(this.#parts.ctx, db, { offset, data }, halt);
  }

  /** Asks the primary, and makes the transaction ours when it has it. */
  *#end(db: Database, halt: Halt, writer: TransactionWriter): Task<void> {
    if (halt.closing !== undefined) throw new HaltRefused(halt.closing);
    const { stored } = writer.seal();
    const pending: NonNullable<Halt['pending']> = {
      commit: this.#nextCommit++,
      answer: undefined,
    };
    halt.pending = pending;
    this.#parts.ask(db.name, pending.commit, stored);
    while (!pending.answer) yield ANSWER_LOOK_MS;
    halt.pending = undefined;
    const { error } = pending.answer;
    if (error !== undefined) {
      this.end(db, error);
      throw new HaltRefused(error);
    }
    try {
      writer.commit();
    } catch (failure) {
      // The primary has it, and sends it again.
      this.end(db, errorText(failure));
      throw failure;
    }
    try {
      // The application may checkpoint it, past us, as soon as it is published.
      db.log.sync();
    } catch (failure) {
      // It is committed all the same; the next one is not.
      if (!isOutside(failure)) throw failure;
      this.end(db, errorText(failure));
    }
  }

  #closeLater(db: Database, halt: Halt, sinceMs: number, tries: number): void {
    const { ctx, scheduler } = this.#parts;
    const attempt = function* (this: HaltBorrower): Task<boolean> {
      if (tries > 0) yield CLOSE_REST_MS;
      return this.#detached || this.#close(db, halt);
    };
    scheduler.add(laneOf(db), attempt.bind(this), (error, closed) => {
      if (error !== undefined) throw error;
      if (closed) return;
      if (ctx.clockMs() - sinceMs > PATIENCE_MS) {
        sinceMs = Number.POSITIVE_INFINITY;
        const text = `${db.name}: an application is still in a transaction, and holds up what the primary sends`;
        ctx.log('warn', text, { database: db.name });
      }
      this.#closeLater(db, halt, sinceMs, tries + 1);
    });
  }

  /** Whether nobody is in a transaction; then the database is a replica's again. */
  #close(db: Database, halt: Halt): boolean {
    const { ctx, shared } = this.#parts;
    try {
      if (!db.owner.reclaim(db.pageCount, ctx.random32)) return false;
      const appender = WalAppender.try(ctx, db, db.pageSize);
      if (!appender) return false;
      if (halt.page1) {
        appender.frame(1, halt.page1, db.pageCount);
        appender.publish(db.pageCount);
      } else {
        appender.abort();
      }
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
      db.owner.release();
      sayDiskFault(ctx, db, error);
      return false;
    }
    if (db.status.state === 'degraded') ctx.setStatus(db, { state: 'ok' });
    fs.closeSync(halt.guard);
    shared.setHalt('none');
    this.#current = undefined;
    db.halt = undefined;
    return true;
  }

  #noteWal(db: Database): void {
    this.#parts.shared.haltWalBytes = walBytes(db);
  }
}

const DONE = { errno: 0 };

/** Where the operations of apps under the halt lock are served. */
export function laneOf(db: Database): string {
  return `\0halt ${db.name}`;
}

/** What is to wait until a halt is over. */
export function* untilReadOnly(db: Database): Task<void> {
  while (db.halt) yield LOCK_REST_MS;
}

function walBytes({ wal }: Database): number {
  return wal.cursor ? frameOffset(wal.cursor.frame + 1, wal.cursor.pageSize) : 0;
}

function busy(db: Database, why: string): LiteFsError {
  return new LiteFsError('DATABASE_BUSY', `${db.name} cannot be opened for writing here: ${why}`);
}

/** A refusal or an error of the system, as opposed to a bug. */
function isOutside(error: unknown): boolean {
  if (error instanceof HaltRefused || error instanceof LiteFsError) return true;
  return error instanceof Error && 'errno' in error;
}
