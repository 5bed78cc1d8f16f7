/**
 * The halt lock on the primary: takes the write lock of a database in SQLite's own way and keeps it, so that no application here
 * writes, and commits the transactions of the node that it is kept for as a SQLite writer would.
 *
 * WAL mode: the write slot of the -shm, and SHARED on the file through a descriptor of its own, which keeps the last connection
 * from taking -wal and -shm away. Rollback-journal modes: RESERVED; a transaction has a journal (rollback-commit.ts). Readers
 * go on.
 *
 * Invariant: while the lock is lent no name of the database is removed or changed. The mount's thread refuses it at once: the
 * kernel keeps the file locked while such an operation is held back, and a write of ours would wait for it for ever.
 */
import fs from 'node:fs';
import { LiteFsError } from '../../errors.ts';
import type { Position } from '../../ltx/position.ts';
import { resumeName } from '../../mount/names.ts';
import type { SharedState } from '../../mount/shared-state.ts';
import { ofdLock } from '../../os/locks.ts';
import { getxattrExists } from '../../os/xattr.ts';
import { DB_HEADER_BYTES, parseDbHeader } from '../../sqlite/db-header.ts';
import {
  DMS_BYTE,
  RESERVED_BYTE,
  SHARED_FIRST,
  SHARED_SIZE,
  WAL_LOCK_BASE,
  WAL_WRITE_SLOT,
} from '../../sqlite/locks.ts';
import { WalAppender } from '../apply/appender.ts';
import { appendEntry, check } from '../apply/apply.ts';
import { followAppended } from '../capture/capture-wal.ts';
import type { CaptureOutcome, EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { insist } from '../core/insist.ts';
import type { LtxInput } from '../core/ltx-input.ts';
import { OpenWouldBlock } from '../files/files.ts';
import { readCurrentPage } from '../read/current-page.ts';
import { withJournal } from '../read/journals.ts';
import { verifyStrictly } from '../read/verify.ts';
import { untilTold } from '../tasks/beside.ts';
import { whenLookedUp } from '../tasks/rest.ts';
import { asTask, type Scheduler, type Task } from '../tasks/scheduler.ts';
import { commitWithJournal, emptyJournal } from './rollback-commit.ts';

export interface HaltLenderParts {
  readonly ctx: EngineContext;
  readonly scheduler: Scheduler;
  readonly shared: SharedState;
  readonly mountDir: string;
  /** Captures what is committed. */
  readonly flush: (db: Database) => Task<CaptureOutcome>;
  /** Has -wal and -shm made by another thread: we must not wait for the directory. */
  readonly makeWal: (db: Database) => void;
  /** What was written to a database until now was written by us. */
  readonly explained: (db: Database) => void;
}

/** What keeps a lock that is lent. */
interface Loan {
  /** WAL mode: the descriptor with SHARED. */
  readonly guard: number | undefined;
  readonly inode: bigint;
}

const MAKE_AGAIN_MS = 100;
const WRITE_BYTE = WAL_LOCK_BASE + WAL_WRITE_SLOT;

export class HaltLender {
  readonly #parts: HaltLenderParts;
  readonly #loans = new Map<Database, Loan>();

  constructor(parts: HaltLenderParts) {
    this.#parts = parts;
  }

  isLent(db: Database): boolean {
    return this.#loans.has(db);
  }

  /**
   * Takes the lock. Throws DATABASE_BUSY when a writer does not end within `waitMs`; DATABASE_NOT_FOUND; then nothing is held.
   * From beside the lane of the database, which the writer that is waited for needs.
   */
  *lend(db: Database, waitMs: number): Task<void> {
    const { ctx } = this.#parts;
    let askedMs = Number.NEGATIVE_INFINITY;
    const makeWal = () => {
      // Again after a while: an application that was closing has removed what was made beneath it.
      if (ctx.clockMs() - askedMs < MAKE_AGAIN_MS) return;
      askedMs = ctx.clockMs();
      this.#parts.makeWal(db);
    };
    const isLocked = yield* untilTold(this.#parts, db.name, waitMs, () =>
      this.#tryLend(db, makeWal),
    );
    if (isLocked) return;
    throw new LiteFsError(
      'DATABASE_BUSY',
      `${db.name}: an application on the primary keeps it locked`,
    );
  }

  /** Commits a transaction of the node that the lock is kept for. Throws WRONG_STATE, CHECKSUM_MISMATCH, LTX_CORRUPT, DISK. */
  *commit(db: Database, input: LtxInput): Task<Position> {
    const { ctx } = this.#parts;
    const loan = this.#loans.get(db);
    if (!loan || !this.#isStillLocked(db, loan)) {
      throw new LiteFsError('WRONG_STATE', `the halt lock of ${db.name} is no longer held`);
    }
    const checked = yield* check(db, input);
    if (checked.header.commit === 0 || checked.header.pageSize !== db.pageSize) {
      const text = `${db.name}: a transaction under the halt lock cannot change the page size, nor drop the database`;
      throw new LiteFsError('WRONG_STATE', text);
    }
    yield* whenLookedUp(ctx, () => db.files.openAll());
    let emit: () => void;
    if (loan.guard === undefined) {
      emit = yield* commitWithJournal(ctx, db, input, checked);
    } else {
      const appender = yield* WalAppender.begin(ctx, db, db.pageSize);
      const before = db.position;
      try {
        emit = yield* appendEntry(ctx, db, appender, input, checked);
      } catch (error) {
        appender.abort();
        throw error;
      }
      db.shown = before;
      yield* insist(ctx, db, () => asTask(() => appender.publish(checked.header.commit)));
      followAppended(db);
      db.shown = undefined;
    }
    emit();
    this.#parts.explained(db);
    yield* verifyStrictly(ctx, db);
    return db.position;
  }

  /** Gives the lock back. */
  takeBack(db: Database): void {
    const loan = this.#loans.get(db);
    if (!loan) return;
    this.#loans.delete(db);
    this.#parts.shared.setLent(loan.inode, false);
    db.owner.keepsLock = false;
    try {
      if (loan.guard === undefined) emptyJournal(db);
    } finally {
      unlock(db, loan.guard);
    }
  }

  /** undefined when it cannot be had now. */
  *#tryLend(db: Database, makeWal: () => void): Task<true | undefined> {
    const { ctx } = this.#parts;
    if (this.#loans.has(db)) throw new LiteFsError('WRONG_STATE', `${db.name} is lent already`);
    if (db.pageCount === 0 && db.files.size('db') === 0) {
      throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${db.name} here`);
    }
    let locked: { guard: number | undefined } | undefined;
    try {
      yield* this.#parts.flush(db);
      const isWal = inWalMode(db);
      if (isWal && !(db.files.exists('wal') && db.files.exists('shm'))) {
        makeWal();
        return undefined;
      }
      locked = isWal ? lockWal(db) : lockRollback(db);
      if (!locked) return undefined;
      // What was committed since we looked is captured now; nothing more can come.
      const outcome = yield* this.#parts.flush(db);
      const inode = db.files.tree.stat(db.name)?.ino;
      let isTaken = outcome === 'done' && inWalMode(db) === isWal && db.pageCount > 0;
      if (isTaken && inode !== undefined && this.#parts.shared.setLent(inode, true)) {
        // Answered by the mount's thread: what it held back before it saw that has been told to us, and is served first.
        getxattrExists(this.#parts.mountDir, resumeName(0n, 0));
        if (isWal) {
          isTaken = db.owner.adopt(db.wal.followed, db, ctx.random32);
          followAppended(db);
          // Connections may come again.
          db.files.lock('shm', 'read', DMS_BYTE, 1);
        }
        if (isTaken) {
          db.owner.keepsLock = isWal;
          this.#loans.set(db, { ...locked, inode });
          return true;
        }
        this.#parts.shared.setLent(inode, false);
      }
      unlock(db, locked.guard);
      return undefined;
    } catch (error) {
      if (locked) unlock(db, locked.guard);
      if (error instanceof OpenWouldBlock) return undefined;
      throw error;
    }
  }

  #isStillLocked(db: Database, { guard }: Loan): boolean {
    return guard === undefined
      ? db.files.lock('db', 'write', RESERVED_BYTE, 1)
      : db.files.lock('shm', 'write', WRITE_BYTE, 1);
  }
}

function lockWal(db: Database): { guard: number } | undefined {
  db.files.closeReplaced();
  // Opened before anything is locked: each may have to be looked up first.
  if (db.files.fd('shm') === undefined || db.files.fd('wal') === undefined) return undefined;
  const guard = db.files.openAgain('db');
  if (guard === undefined) return undefined;
  const locked =
    ofdLock(guard, 'read', SHARED_FIRST, SHARED_SIZE) &&
    // When no connection uses the -shm, none begins to before it is made to agree with the -wal.
    (db.files.lock('shm', 'write', DMS_BYTE, 1) || db.files.lock('shm', 'read', DMS_BYTE, 1)) &&
    db.files.lock('shm', 'write', WRITE_BYTE, 1) &&
    // From now on nobody takes them away; an application may have, since they were opened.
    !db.files.isReplaced('wal') &&
    !db.files.isReplaced('shm');
  if (locked) return { guard };
  unlock(db, guard);
  return undefined;
}

function lockRollback(db: Database): { guard: undefined } | undefined {
  if (!db.files.lock('db', 'write', RESERVED_BYTE, 1)) return undefined;
  const first = withJournal(db, (file) => file.read(0, 1)[0]);
  if ((first ?? 0) === 0) return { guard: undefined };
  // A hot journal: its writer has died, and the next application to open the database rolls it back.
  unlock(db, undefined);
  return undefined;
}

function unlock(db: Database, guard: number | undefined): void {
  if (guard === undefined) {
    db.files.lock('db', 'unlock', RESERVED_BYTE, 1);
    return;
  }
  fs.closeSync(guard);
  db.files.lock('shm', 'unlock', WRITE_BYTE, 1);
  db.files.lock('shm', 'unlock', DMS_BYTE, 1);
}

function inWalMode(db: Database): boolean {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  readCurrentPage(db, 1, head);
  return parseDbHeader(head)?.writeVersion === 2;
}
