/**
 * The truth is checked while running: pages are read as readers see them and compared with the table, a piece at a time, so that
 * the whole of each database is read once in a period, or as fast as the rests between the pieces allow. On a primary what differs, though nobody is writing, is a fault: of
 * this program, or of the disk. It is told of, and captured, so that the replicas have what the primary has. A replica admits it,
 * and fetches the pages.
 *
 * Invariants:
 * - One piece at a time over all databases, and a rest behind each: a bounded share of disk and processor.
 * - What an open transaction may have written, or a commit that is not captured yet, is no fault.
 */
import { isOutsideFault } from '../../errors.ts';
import { lockPageNumber } from '../../sqlite/db-header.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import type { Registry } from '../core/registry.ts';
import { admit, lookAgain, pageSum } from '../read/verify.ts';
import type { Scheduler, Task } from '../tasks/scheduler.ts';
import type { Follower } from './follower.ts';

const PIECE_PAGES = 256;
/** Between two pieces, of whatever databases. */
const REST_MS = 100;
/** When a writer was in the way. */
const AGAIN_MS = 1000;
/** The first piece comes within this time after the start. */
const FIRST_MS_MAX = 3_600_000;

/** Where the reading of one database stands. */
interface Round {
  /** The page that is read next. */
  next: number;
  /** When, in ms of the clock. */
  dueMs: number;
}

export interface BackgroundVerifyParts {
  readonly ctx: EngineContext;
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  readonly follower: Follower;
  /** In which each page is read once, ms; 0 for never. */
  readonly periodMs: number;
  /** Whether this node captures; a replica applies. */
  readonly captures: () => boolean;
}

export class BackgroundVerify {
  readonly #parts: BackgroundVerifyParts;
  readonly #rounds = new WeakMap<Database, Round>();
  #isBusy = false;
  #restsUntilMs = 0;

  constructor(parts: BackgroundVerifyParts) {
    this.#parts = parts;
  }

  /** Starts the piece that is due for the longest. */
  poll(): void {
    const { ctx, scheduler } = this.#parts;
    const nowMs = ctx.clockMs();
    if (this.#isBusy || ctx.isDetached() || nowMs < this.#restsUntilMs) return;
    const next = this.#next();
    if (!next || next.round.dueMs > nowMs) return;
    const { db, round } = next;
    this.#isBusy = true;
    scheduler.add(
      db.name,
      () => this.#piece(db, round),
      (error, delayMs) => {
        this.#isBusy = false;
        const endMs = ctx.clockMs();
        this.#restsUntilMs = endMs + REST_MS;
        round.dueMs = endMs + (delayMs ?? AGAIN_MS);
        if (error === undefined) return;
        // What the disk refuses here is met by the work itself, which tells of it.
        if (!isOutsideFault(error)) throw error;
      },
    );
  }

  /** ms until a piece is due; undefined for never, or while one is read. */
  nextInMs(): number | undefined {
    const next = this.#isBusy ? undefined : this.#next();
    if (!next) return undefined;
    return Math.max(0, Math.max(next.round.dueMs, this.#restsUntilMs) - this.#parts.ctx.clockMs());
  }

  #next(): { db: Database; round: Round } | undefined {
    const { registry, periodMs } = this.#parts;
    if (periodMs === 0) return undefined;
    let next: { db: Database; round: Round } | undefined;
    for (const db of registry) {
      if (!isReadable(db)) continue;
      const round = this.#roundOf(db);
      if (!next || round.dueMs < next.round.dueMs) next = { db, round };
    }
    return next;
  }

  #roundOf(db: Database): Round {
    let round = this.#rounds.get(db);
    if (!round) {
      const { ctx, periodMs } = this.#parts;
      const random = () => ctx.random32() / 2 ** 32;
      // Anywhere: a node that is started often would read the first pages only.
      const next = 1 + Math.floor(random() * db.pageCount);
      round = { next, dueMs: ctx.clockMs() + Math.min(periodMs, FIRST_MS_MAX) * random() };
      this.#rounds.set(db, round);
    }
    return round;
  }

  /** Reads some pages. Returns in how many ms the next ones are due. */
  *#piece(db: Database, round: Round): Task<number> {
    const { ctx, follower, captures } = this.#parts;
    // It has waited for its turn.
    if (!isReadable(db)) return AGAIN_MS;
    const { pageSize } = db;
    if (round.next > db.pageCount) round.next = 1;
    const page = Buffer.allocUnsafeSlow(pageSize);
    const lockPage = lockPageNumber(pageSize);
    const end = Math.min(db.pageCount, round.next + PIECE_PAGES - 1);
    for (; round.next <= end; round.next++) {
      const pgno = round.next;
      if (pgno === lockPage || pageSum(db, pgno, page) === db.sums.get(pgno)) continue;
      // Applied by tasks of this lane alone: on a replica no other look would tell more.
      const found = captures()
        ? yield* lookAgain(ctx, db, pgno, page, () => follower.flush(db))
        : 'wrong';
      if (found === 'cannot tell') return AGAIN_MS;
      if (found === 'wrong') yield* this.#tell(db, pgno, page);
      if (db.pageSize !== pageSize || db.pageCount < end) return AGAIN_MS;
    }
    const pieces = Math.ceil(db.pageCount / PIECE_PAGES);
    return this.#parts.periodMs / Math.max(1, pieces);
  }

  *#tell(db: Database, pgno: number, page: Buffer): Task<void> {
    const { ctx, follower, captures } = this.#parts;
    db.tally.faults++;
    db.faultMs = ctx.wallClockMs();
    if (!captures()) {
      db.tally.checksumFailures++;
      admit(ctx, db, new Map([[pgno, pageSum(db, pgno, page)]]));
      return;
    }
    ctx.log(
      'error',
      `${db.name}: page ${pgno} is not what was captured of it, though nothing has written it since: every page is compared now. ` +
        'This is a fault of litefs-lite or of the disk. Please report it, with this log',
      { database: db.name },
    );
    db.suspicion = `page ${pgno} is not what was captured of it`;
    yield* follower.flush(db);
  }
}

/** One whose state is told of already is left to those that care for it, and one that is half written to the writer. */
function isReadable({ pageCount, status, halt, shown }: Database): boolean {
  return pageCount > 0 && status.state === 'ok' && !halt && !shown;
}
