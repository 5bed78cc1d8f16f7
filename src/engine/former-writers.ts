/**
 * Databases that applications of a replica could write under the halt lock. Who has kept the file open since can still write
 * it, past us where the kernel passes it through, as long as no journal has to be made (journal_mode=MEMORY, OFF). So it is
 * looked at now and then whether somebody else than we has written it, and compared: what differs is fetched.
 */
import { isOutsideFault } from '../errors.ts';
import { sameLook } from '../store/marker.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { sayDiskFault } from './insist.ts';
import type { Scheduler, Task } from './scheduler.ts';
import { verifyDatabase } from './verify.ts';

const LOOK_MS = 1000;

/** From now on; also after a write of ours, under the lock that keeps others out, when nothing was strange before it. */
export function noteLook(db: Database): void {
  db.look = db.files.look('db');
}

/** Whether somebody else has written the file since. */
export function looksStrange(db: Database): boolean {
  return db.look !== undefined && !sameLook(db.look, db.files.look('db'));
}

export class FormerWriters {
  readonly #ctx: EngineContext;
  readonly #databases: Iterable<Database>;
  readonly #scheduler: Scheduler;
  #nextMs = 0;

  constructor(ctx: EngineContext, databases: Iterable<Database>, scheduler: Scheduler) {
    this.#ctx = ctx;
    this.#databases = databases;
    this.#scheduler = scheduler;
  }

  /** Looks when it is time. */
  poll(): void {
    const now = this.#ctx.clockMs();
    if (now < this.#nextMs) return;
    this.#nextMs = now + LOOK_MS;
    for (const db of this.#databases) {
      if (db.look === undefined || this.#scheduler.isBusy(db.name) || !looksStrange(db)) continue;
      this.#scheduler.add(
        db.name,
        () => this.#compare(db),
        (error) => {
          if (error !== undefined && !isOutsideFault(error)) throw error;
          sayDiskFault(this.#ctx, db, error);
        },
      );
    }
  }

  /** ms until then; undefined when there is nothing to look at. */
  nextInMs(): number | undefined {
    for (const { look } of this.#databases) {
      if (look !== undefined) return Math.max(0, this.#nextMs - this.#ctx.clockMs());
    }
    return undefined;
  }

  *#compare(db: Database): Task<void> {
    if (db.look === undefined) return;
    // What is written while it is read shows the next time.
    noteLook(db);
    const { ok } = yield* verifyDatabase(this.#ctx, db);
    if (ok) return;
    this.#ctx.log(
      'warn',
      `${db.name} was written by an application that had it open since the halt lock: undone`,
      {
        database: db.name,
      },
    );
  }
}
