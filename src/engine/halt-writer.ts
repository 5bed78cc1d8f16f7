/**
 * The halt lock on the replica that has it: apps write one database, and each of their transactions is held back
 * where it would become a commit until the primary has it (halt-commits.ts). What the primary refuses is undone, and
 * its app gets an error. One database at a time, so that whoever holds back an unlink in a directory is the only one.
 *
 * What the mount holds back is served in a lane of its own: what the primary sends waits in the database's lane until
 * nobody can be in a transaction any more.
 */
import fs from 'node:fs';
import { errorText, LiteFsError } from '../errors.ts';
import type { DeferredOperation, Resumption } from '../fuse/policy.ts';
import { formatPosition, type Position, samePosition } from '../ltx/position.ts';
import type { SharedState } from '../mount/shared-state.ts';
import { errno } from '../os/libc.ts';
import { ofdLock } from '../os/locks.ts';
import { DB_HEADER_BYTES, parseDbHeader } from '../sqlite/db-header.ts';
import {
  RESERVED_BYTE,
  SHARED_FIRST,
  SHARED_SIZE,
  WAL_LOCK_BASE,
  WAL_WRITE_SLOT,
} from '../sqlite/locks.ts';
import { frameOffset } from '../sqlite/wal.ts';
import { sameLook } from '../store/marker.ts';
import type { TreeDoor } from '../store/tree-door.ts';
import { tryLeaveWalMode, tryLockExclusive } from './apply-rollback.ts';
import { withTrueJournal } from './capture-journal.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { noteLook } from './former-writers.ts';
import { type Halt, HaltRefused } from './halt.ts';
import { commitJournal, commitWal, restartWal } from './halt-commits.ts';
import type { LtxInput } from './ltx-input.ts';
import { tryLetReadersUseWal } from './readers-wal.ts';
import type { Scheduler, Task } from './scheduler.ts';
import type { TransactionWriter } from './transaction-writer.ts';
import { undoJournal } from './undo-journal.ts';
import { verifyDatabase } from './verify.ts';
import { WalAppender } from './wal-appender.ts';

export interface HaltWriterParts {
  readonly ctx: EngineContext;
  readonly scheduler: Scheduler;
  readonly shared: SharedState;
  readonly mount: () => TreeDoor;
  /** From now on operations of apps wait for us, which may keep a directory locked; or no longer. */
  readonly holdsUp: (isSo: boolean) => void;
  /** Has the primary asked; answer() brings what it says. */
  readonly ask: (database: string, commit: number, source: LtxInput) => void;
}

const { O_RDWR } = fs.constants;
const LOCK_REST_MS = 5;
const LOCK_MS_MAX = 2000;
const CLOSE_REST_MS = 10;
/** After this long with somebody in a transaction, the log says so. */
const PATIENCE_MS = 5000;
const ANSWER_LOOK_MS = 1000;

export class HaltWriter {
  readonly #parts: HaltWriterParts;
  #db: Database | undefined;
  #nextCommit = 1;
  #detached = false;

  constructor(parts: HaltWriterParts) {
    this.#parts = parts;
  }

  /** Throws WRONG_STATE, DATABASE_BUSY; then nothing has changed. */
  *begin(db: Database, position: Position): Task<void> {
    const { ctx, shared } = this.#parts;
    if (this.#db) {
      throw new LiteFsError(
        'WRONG_STATE',
        `this node has the halt lock of ${this.#db.name}, or is giving it back`,
      );
    }
    if (!samePosition(db.position, position)) {
      throw new LiteFsError(
        'WRONG_STATE',
        `${db.name} is at ${formatPosition(db.position)} here, on the primary at ${formatPosition(position)}`,
      );
    }
    if (db.leavesWal) yield* tryLeaveWalMode(db);
    const mode = db.wal.cursor ? 'wal' : 'rollback';
    if (db.leavesWal) throw busy(db, 'readers keep its -wal in use');
    if (db.versionBefore) {
      throw busy(db, 'the last that was written on the primary was under locking_mode=EXCLUSIVE');
    }
    const guard = mode === 'wal' ? yield* this.#guard(db) : undefined;
    if (mode === 'rollback') db.changeCounter = headerOf(db)?.changeCounter ?? 0;
    const halt: Halt = {
      mode,
      guard,
      closing: undefined,
      pending: undefined,
      look: db.files.look('db'),
      undone: false,
      end: (writer) => this.#end(db, halt, writer),
    };
    db.files.openAll();
    db.look = undefined;
    this.#parts.holdsUp(true);
    db.halt = halt;
    this.#db = db;
    this.#noteWal(db);
    shared.setHalt('open', db.name);
    ctx.log('info', `${db.name} may be written here: the primary holds its lock for this node`, {
      database: db.name,
    });
  }

  /** Serves a held operation of a database that has a halt. Does not throw for what is no bug. */
  *serve(db: Database, operation: DeferredOperation): Task<Omit<Resumption, 'token'>> {
    const halt = db.halt as Halt;
    const isWal = operation.path.endsWith('-wal');
    try {
      if (operation.kind === 'open') return DONE;
      if (isWal) yield* this.#serveWal(db, halt, operation);
      else yield* commitJournal(this.#parts.ctx, db, halt.end);
      halt.look = db.files.look('db');
      this.#noteWal(db);
      return DONE;
    } catch (error) {
      if (!isOutside(error)) throw error;
      this.#parts.ctx.log('warn', `${db.name}: a transaction is refused: ${errorText(error)}`, {
        database: db.name,
      });
      if (isWal) return { errno: errno.EIO };
      yield* undoJournal(this.#parts.ctx, db);
      halt.look = db.files.look('db');
      // The journal ends all the same, since nothing is left to be rolled back. EINTR makes the kernel forget the name.
      return { errno: operation.kind === 'unlink' ? errno.EINTR : errno.EIO, perform: true };
    }
  }

  /** After a journal's end was done and called a failure: the kernel still believes in its content. */
  refused(operation: DeferredOperation): void {
    if (operation.kind !== 'truncate' || !operation.path.endsWith('-journal')) return;
    this.#emptyJournal(operation.path);
  }

  /** What has become of a commit. */
  answer(db: Database, commit: number, error: string | undefined): void {
    const { pending } = db.halt ?? {};
    if (pending?.commit !== commit) return;
    pending.answer = { error };
    this.#parts.scheduler.wake(laneOf(db));
  }

  /** Nothing more is committed. Goes on in the background until nobody is in a transaction. */
  end(db: Database, reason: string): void {
    const { halt } = db;
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
    const db = this.#db;
    if (!db?.halt) return;
    db.suspect = true;
    this.end(db, 'the node stops');
    if (db.halt.pending) db.halt.pending.answer ??= { error: 'the node stops' };
    if (db.halt.guard !== undefined) fs.closeSync(db.halt.guard);
  }

  /** SHARED on the file, so that no app takes -wal and -shm away; and the wal-index is what it should be. */
  *#guard(db: Database): Task<number> {
    const { ctx } = this.#parts;
    const untilMs = ctx.clockMs() + LOCK_MS_MAX;
    const fd = db.files.openAgain('db');
    if (fd === undefined) throw busy(db, 'it is not there');
    try {
      for (;;) {
        const appender = ofdLock(fd, 'read', SHARED_FIRST, SHARED_SIZE)
          ? WalAppender.begin(ctx, db)
          : undefined;
        if (appender) {
          appender.abort();
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
    const { kind, offset = 0, data, size = 0 } = operation;
    if (kind === 'write' && data) {
      if (offset === 0) restartWal(db, data);
      else yield* commitWal(this.#parts.ctx, db, { offset, data }, halt.end);
    } else if (kind === 'truncate') {
      if (size === 0) restartWal(db, undefined);
      else if (size < walBytes(db)) throw new HaltRefused('the -wal is cut');
    }
  }

  /** Asks the primary, and makes the transaction ours when it has it. */
  *#end(db: Database, halt: Halt, writer: TransactionWriter): Task<void> {
    if (halt.closing !== undefined) throw new HaltRefused(halt.closing);
    if (halt.mode === 'rollback' && headerOf(db)?.writeVersion !== 1) {
      throw new HaltRefused('the journal mode cannot be changed to WAL under the halt lock');
    }
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
      // Its pages are in the database file, or come there past us.
      db.log.sync();
    } catch (failure) {
      // It is committed all the same; the next one is not.
      if (!isOutside(failure)) throw failure;
      this.end(db, errorText(failure));
    }
  }

  #closeLater(db: Database, halt: Halt, sinceMs: number, tries: number): void {
    const { ctx, scheduler } = this.#parts;
    const attempt = function* (this: HaltWriter): Task<boolean> {
      if (tries > 0) yield CLOSE_REST_MS;
      return this.#detached || (yield* this.#close(db, halt));
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
  *#close(db: Database, halt: Halt): Task<boolean> {
    const closed = halt.mode === 'wal' ? this.#closeWal(db) : yield* this.#closeRollback(db, halt);
    if (!closed) return false;
    if (halt.guard !== undefined) fs.closeSync(halt.guard);
    this.#parts.shared.setHalt('none');
    this.#parts.holdsUp(false);
    this.#db = undefined;
    db.halt = undefined;
    return true;
  }

  #closeWal(db: Database): boolean {
    const { ctx } = this.#parts;
    const lock = (type: 'write' | 'unlock') =>
      db.files.lock('shm', type, WAL_LOCK_BASE + WAL_WRITE_SLOT, 1);
    if (!lock('write')) return false;
    try {
      if (db.wal.cursor?.frame === 0) {
        // Started over or emptied, maybe only half: it begins anew.
        db.files.truncate('wal', 0);
        db.forgetWal();
      }
      db.index.restarted();
      // What applications say they have copied is copied once more.
      db.wal.backfilled = 0;
      return tryLetReadersUseWal(ctx, db);
    } finally {
      lock('unlock');
    }
  }

  *#closeRollback(db: Database, halt: Halt): Task<boolean> {
    const { ctx } = this.#parts;
    if (!db.files.lock('db', 'write', RESERVED_BYTE, 1)) return false;
    if (isHot(db)) {
      const unlock = tryLockExclusive(db);
      if (!unlock) {
        db.files.lock('db', 'unlock', RESERVED_BYTE, 1);
        return false;
      }
      try {
        // Its writer has died.
        yield* undoJournal(ctx, db);
        this.#emptyJournal(`${db.name}-journal`);
        noteLook(db);
      } finally {
        unlock();
      }
      return true;
    }
    try {
      const counter = headerOf(db)?.changeCounter;
      const same = sameLook(db.files.look('db'), halt.look);
      if (!same || counter !== db.changeCounter) halt.undone = yield* this.#takeBackUnseen(db);
      noteLook(db);
      return true;
    } finally {
      db.files.lock('db', 'unlock', RESERVED_BYTE, 1);
    }
  }

  /** Something was written without a journal, so nobody could ask the primary. */
  *#takeBackUnseen(db: Database): Task<boolean> {
    const { ctx } = this.#parts;
    if (db.files.size('db') !== db.pageCount * db.pageSize) {
      db.files.truncate('db', db.pageCount * db.pageSize);
    }
    const { ok } = yield* verifyDatabase(ctx, db);
    if (ok) return false;
    ctx.log(
      'error',
      `${db.name} was written under the halt lock without a journal (journal_mode=MEMORY or OFF, or a program that is not SQLite): that is undone`,
      { database: db.name },
    );
    return true;
  }

  /** An open file: no directory is waited for, which somebody may have locked. */
  #emptyJournal(path: string): void {
    const { ctx, mount } = this.#parts;
    const cached = mount().openCached(path, O_RDWR);
    const fd = typeof cached === 'number' ? cached : ctx.tree.open(path, O_RDWR);
    if (fd === undefined) return;
    fs.ftruncateSync(fd, 0);
    fs.closeSync(fd);
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

function headerOf(db: Database) {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  return parseDbHeader(head);
}

function isHot(db: Database): boolean {
  const first = withTrueJournal(db, (file) => file.read(0, 1)[0]);
  return (first ?? 0) !== 0;
}

function busy(db: Database, why: string): LiteFsError {
  return new LiteFsError('DATABASE_BUSY', `${db.name} cannot be opened for writing here: ${why}`);
}

/** A refusal or an error of the system, as opposed to a bug. */
function isOutside(error: unknown): boolean {
  if (error instanceof HaltRefused || error instanceof LiteFsError) return true;
  return error instanceof Error && 'errno' in error;
}
