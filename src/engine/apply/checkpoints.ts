/**
 * When a replica's -wal is copied into the database file: when it has grown, and once nothing has come for a second, so that
 * the file alone is current. As far as readers allow, for which nothing waits; it is tried again.
 */
import { errorText, isOutsideFault, throwBug } from '../../errors.ts';
import { WAL_FRAME_HEADER_BYTES } from '../../sqlite/wal.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import type { Scheduler, Task } from '../tasks/scheduler.ts';

/** SQLite's own default: 1000 pages of 4 KiB. */
const CHECKPOINT_BYTES = 4 << 20;
const IDLE_MS = 1000;
/**
 * Transactions wait this long for readers of the newest snapshot to end. One that stays costs this once: later checkpoints
 * are not complete because of it, and wait for nothing.
 */
const RESTART_MS_MAX = 100;
const RESTART_REST_MS = 1;
/** Databases whose last checkpoint the disk has refused: it is said once. */
const failing = new WeakSet<Database>();

/** Checkpoints when the -wal has grown enough since the last time that it could, and starts it over. */
export function* checkpointIfLarge(ctx: EngineContext, db: Database): Task<void> {
  const frameBytes = db.pageSize + WAL_FRAME_HEADER_BYTES;
  if (db.owner.framesToCopy * frameBytes < CHECKPOINT_BYTES) return;
  if (!(yield* checkpoint(ctx, db))) return;
  // Readers that come from now on need nothing of the -wal; those that came while pages were copied leave it soon.
  const untilMs = ctx.clockMs() + RESTART_MS_MAX;
  while (!startOver(ctx, db)) {
    if (ctx.clockMs() >= untilMs) return;
    yield RESTART_REST_MS;
    if (ctx.isDetached()) return;
  }
}

/** false also when the disk refuses it: the transactions that brought us here are applied. */
function startOver(ctx: EngineContext, db: Database): boolean {
  try {
    return db.owner.startOver(db, ctx.random32);
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    return false;
  }
}

/** Copies what readers allow; whether the file alone is current now. What the disk refuses is tried again some time. */
export function* checkpoint(ctx: EngineContext, db: Database): Task<boolean> {
  try {
    const isComplete = yield* db.owner.checkpoint(db.pageCount, () => db.log.sync());
    failing.delete(db);
    return isComplete;
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    const text = `${db.name}-wal cannot be copied into the database, and is tried again: ${errorText(error)}`;
    if (!failing.has(db)) ctx.log('warn', text, { database: db.name });
    failing.add(db);
    return false;
  }
}

export class IdleCheckpoints {
  readonly #ctx: EngineContext;
  readonly #scheduler: Scheduler;
  /** When each database that was written is due. */
  readonly #dueMs = new Map<Database, number>();

  constructor(ctx: EngineContext, scheduler: Scheduler) {
    this.#ctx = ctx;
    this.#scheduler = scheduler;
  }

  /** Something was published in its -wal. */
  written(db: Database): void {
    this.#dueMs.set(db, this.#ctx.clockMs() + IDLE_MS);
  }

  /** Begins what is due. */
  poll(): void {
    const now = this.#ctx.clockMs();
    for (const [db, dueMs] of this.#dueMs) {
      if (dueMs > now) continue;
      this.#dueMs.set(db, now + IDLE_MS);
      if (!this.#scheduler.isBusy(db.name)) this.#begin(db);
    }
  }

  /** ms until then; undefined when nothing was written. */
  nextInMs(): number | undefined {
    let next: number | undefined;
    for (const dueMs of this.#dueMs.values()) next = Math.min(next ?? dueMs, dueMs);
    return next === undefined ? undefined : Math.max(0, next - this.#ctx.clockMs());
  }

  #begin(db: Database): void {
    const before = this.#dueMs.get(db);
    this.#scheduler.add(
      db.name,
      () => this.#checkpoint(db),
      (error, isComplete) => {
        throwBug(error);
        if (isComplete && this.#dueMs.get(db) === before) this.#dueMs.delete(db);
      },
    );
  }

  *#checkpoint(db: Database): Task<boolean> {
    if (!db.wal.cursor || this.#ctx.isDetached()) return true;
    // Whoever has the halt lock here writes the -wal, and copies it as well.
    return !db.halt && (yield* checkpoint(this.#ctx, db));
  }
}
