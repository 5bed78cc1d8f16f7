/**
 * The truth is checked while running: pages are read as readers see them and compared with the table, a piece at a time, so that
 * the whole of each database is read at least once in a period. On a primary what differs, though nobody is writing, is a fault: of
 * this program, or of the disk. It is told of, and captured, so that the replicas have what the primary has. A replica admits it,
 * and fetches the pages.
 *
 * Invariants:
 * - One piece at a time over all databases, and a rest behind each: a bounded share of disk and processor.
 * - What an open transaction may have written, or a commit that is not captured yet, is no fault.
 */
import { isOutsideFault } from '../errors.ts';
import { pageChecksum } from '../kernels/checksum.ts';
import { lockPageNumber } from '../sqlite/db-header.ts';
import { explanationOfWrites } from './capture.ts';
import type { EngineContext } from './context.ts';
import { readCurrentPage } from './current-page.ts';
import type { Database } from './database.ts';
import type { Follower } from './follower.ts';
import type { Registry } from './registry.ts';
import { rest } from './rest.ts';
import type { Scheduler, Task } from './scheduler.ts';
import { admit } from './verify.ts';

const PIECE_PAGES = 256;
/** Between two pieces, of whatever databases. */
const REST_MS = 100;
/** When a writer was in the way. */
const AGAIN_MS = 1000;
/** The first piece comes within this time after the start. */
const FIRST_MS_MAX = 3_600_000;
/** A page must look the same and be wrong this often in a row, with all captured in between. */
const LOOKS = 3;
const LOOK_REST_MS = 5;
/** Spreads the first pieces of many databases. */
const GOLDEN_RATIO = 0.618034;

interface Round {
  next: number;
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
  readonly #rounds = new Map<Database, Round>();
  #isBusy = false;
  #restsUntilMs = 0;
  #begun = 0;

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

  /** A database whose state is told of already is left to those that care for it. */
  #next(): { db: Database; round: Round } | undefined {
    const { registry, periodMs } = this.#parts;
    if (periodMs === 0) return undefined;
    let next: { db: Database; round: Round } | undefined;
    for (const db of registry) {
      if (db.pageCount === 0 || db.status.state !== 'ok' || db.halt || db.shown) continue;
      const round = this.#roundOf(db);
      if (!next || round.dueMs < next.round.dueMs) next = { db, round };
    }
    return next;
  }

  #roundOf(db: Database): Round {
    let round = this.#rounds.get(db);
    if (!round) {
      const { ctx, periodMs } = this.#parts;
      const share = (++this.#begun * GOLDEN_RATIO) % 1;
      const firstMs = Math.min(periodMs, FIRST_MS_MAX) * share;
      round = { next: 1, dueMs: ctx.clockMs() + firstMs };
      this.#rounds.set(db, round);
    }
    return round;
  }

  /** Reads some pages. Returns in how many ms the next ones are due. */
  *#piece(db: Database, round: Round): Task<number> {
    const { pageSize } = db;
    if (round.next > db.pageCount) round.next = 1;
    const page = Buffer.allocUnsafeSlow(pageSize);
    const lockPage = lockPageNumber(pageSize);
    const end = Math.min(db.pageCount, round.next + PIECE_PAGES - 1);
    for (; round.next <= end; round.next++) {
      const pgno = round.next;
      if (pgno === lockPage || sumOf(db, pgno, page) === db.sums.get(pgno)) continue;
      const found = yield* this.#lookAgain(db, pgno, page);
      if (found === 'cannot tell') return AGAIN_MS;
      if (found === 'wrong') yield* this.#tell(db, pgno, page);
      if (db.pageSize !== pageSize || db.pageCount < end) return AGAIN_MS;
    }
    const pieces = Math.ceil(db.pageCount / PIECE_PAGES);
    return this.#parts.periodMs / Math.max(1, pieces);
  }

  *#lookAgain(db: Database, pgno: number, page: Buffer): Task<'well' | 'wrong' | 'cannot tell'> {
    const { ctx, follower, captures } = this.#parts;
    // Applied by tasks of this lane alone: no other look would tell more.
    if (!captures()) return 'wrong';
    const pageSize = page.length;
    let before: bigint | undefined;
    for (let look = 0; look < LOOKS; look++) {
      const outcome = yield* follower.flush(db);
      if (db.pageSize !== pageSize || pgno > db.pageCount) return 'well';
      if (outcome !== 'done' || db.writes.any) return 'cannot tell';
      if (explanationOfWrites(db) === 'journal') return 'cannot tell';
      const sum = sumOf(db, pgno, page);
      if (sum === db.sums.get(pgno)) return 'well';
      if (before !== undefined && before !== sum) return 'cannot tell';
      before = sum;
      yield* rest(ctx, LOOK_REST_MS);
    }
    return 'wrong';
  }

  *#tell(db: Database, pgno: number, page: Buffer): Task<void> {
    const { ctx, follower, captures } = this.#parts;
    db.tally.faults++;
    db.faultMs = ctx.wallClockMs();
    if (!captures()) {
      db.tally.checksumFailures++;
      admit(ctx, db, new Map([[pgno, sumOf(db, pgno, page)]]));
      return;
    }
    ctx.log(
      'error',
      `${db.name}: page ${pgno} is not what was captured of it, though nothing has written it since: every page is compared now. ` +
        'This is a fault of litefs-lite or of the disk. Please report it, with this log',
      { database: db.name },
    );
    db.suspect = true;
    yield* follower.flush(db);
  }
}

function sumOf(db: Database, pgno: number, page: Buffer): bigint {
  readCurrentPage(db, pgno, page);
  return pageChecksum(pgno, page);
}
