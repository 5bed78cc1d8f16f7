/**
 * On a replica: databases with something else than a file under the name of their -wal, -shm or -journal. Readers cannot
 * open such a database, and nothing can be applied to it. It is looked at now and then, until that is out of the way. (On a
 * primary that is a capture which fails, and is tried again.)
 */
import { errorText, isOutsideFault } from '../../errors.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import type { Scheduler, Task } from '../tasks/scheduler.ts';
import { makeMissingWal } from './new-database.ts';

const LOOK_MS = 1000;

export class Obstacles {
  readonly #ctx: EngineContext;
  readonly #scheduler: Scheduler;
  readonly #isAttached: () => boolean;
  /** And what their status says of it. */
  readonly #found = new Map<Database, string>();
  #nextMs = 0;

  /** `isAttached`: whether readers may come. */
  constructor(ctx: EngineContext, scheduler: Scheduler, isAttached: () => boolean) {
    this.#ctx = ctx;
    this.#scheduler = scheduler;
    this.#isAttached = isAttached;
  }

  /** Something has got there. */
  look(db: Database): void {
    const other = db.files.inTheWay();
    if (other) this.failed(db, other);
  }

  /** What was to be done with a database has failed. Throws again what is a bug. */
  failed(db: Database, error: unknown): void {
    if (!isOutsideFault(error)) throw error;
    const reason = errorText(error);
    if (!this.#found.has(db)) {
      this.#ctx.log('warn', `${db.name} cannot be used: ${reason}`, { database: db.name });
    }
    this.#ctx.setStatus(db, { state: 'degraded', reason });
    this.#found.set(db, reason);
    this.#nextMs = this.#ctx.clockMs() + LOOK_MS;
  }

  /** Looks when it is time. */
  poll(): void {
    if (this.#found.size === 0 || this.#ctx.clockMs() < this.#nextMs) return;
    this.#nextMs = this.#ctx.clockMs() + LOOK_MS;
    for (const db of this.#found.keys()) {
      if (this.#scheduler.isBusy(db.name)) continue;
      this.#scheduler.add(
        db.name,
        () => this.#lookAgain(db),
        (error) => {
          if (error !== undefined) this.failed(db, error);
        },
      );
    }
  }

  /** ms until then; undefined when there is nothing to look at. */
  nextInMs(): number | undefined {
    if (this.#found.size === 0) return undefined;
    return Math.max(0, this.#nextMs - this.#ctx.clockMs());
  }

  *#lookAgain(db: Database): Task<void> {
    const other = db.files.inTheWay();
    if (other) throw other;
    if (this.#isAttached()) yield* makeMissingWal(this.#ctx, db);
    const reason = this.#found.get(db);
    this.#found.delete(db);
    const { status } = db;
    if (status.state === 'degraded' && status.reason === reason) {
      this.#ctx.setStatus(db, { state: 'ok' });
    }
  }
}
