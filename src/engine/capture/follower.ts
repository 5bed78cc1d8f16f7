/**
 * When to capture: turns signs of life (inotify, the mount's events) into captures, at most one at a time
 * per database, and keeps looking for as long as somebody is in a write transaction, whose commit
 * is published through shared memory and makes no event.
 */
import { errorText, isOutsideFault, throwBug } from '../../errors.ts';
import type { CaptureOutcome, EngineContext } from '../core/context.ts';
import type { Database, DatabaseStatus } from '../core/database.ts';
import { OpenWouldBlock } from '../files/files.ts';
import { LOCKED_DIRECTORY } from '../read/consistent-read.ts';
import { explanationOfWrites, isInWalMode } from '../read/journals.ts';
import { verifyStrictly } from '../read/verify.ts';
import { untilTold } from '../tasks/beside.ts';
import { LOOK_UP_MS } from '../tasks/rest.ts';
import type { Scheduler, Task } from '../tasks/scheduler.ts';
import { FileWrites } from '../wal/file-writes.ts';
import { capture } from './capture.ts';
import type { HeldOperation } from './capture-wal.ts';
import { tellSize } from './tell-size.ts';

/** While commits come one after the other: how long to let them gather. */
const GATHER_MS = 1;
/** A writer that holds its transaction open is looked at less and less often. */
const WRITING_POLL_MS_MAX = 20;
const BUSY_POLL_MS = 20;
/** The longest of these. */
const HOT_MS = 20;
/** How long a lock may keep us from reading before the status says so. */
const BUSY_PATIENCE_MS = 1000;
/** For readers to pause, or an application to make its wal-index: doubled each time. */
const TELL_SIZE_MS = 1;
const TELL_SIZE_TRIES = 12;
/** For a name to be looked up while an operation is held back: 1 ms each. */
const LOOK_UP_TRIES = 1000;
/** Writes that no journal explains are compared once they pause. */
const QUIET_MS = 5;

const PAST_JOURNAL = 'it was changed past its journal and its -wal';
const WITHOUT_EVENT = 'it was changed without an event, as by mmap or copy_file_range';

interface Watch {
  /** When to look again, in ms of the clock; undefined: when something happens. */
  nextMs: number | undefined;
  pollMs: number;
  queued: boolean;
  busySinceMs: number | undefined;
  /** There was a sign of life since the last capture began. */
  touched: boolean;
  /** The file looked as no event had told. */
  looksOtherwise: boolean;
  /** How often readers could not be told the size of the database since something happened to it. */
  sizeTries: number;
  /** When to try that again, in ms of the clock. */
  sizeMs: number | undefined;
}

export class Follower {
  readonly #ctx: EngineContext;
  readonly #scheduler: Scheduler;
  readonly #setStatus: (db: Database, status: DatabaseStatus) => void;
  readonly #watches = new Map<Database, Watch>();

  constructor(
    ctx: EngineContext,
    scheduler: Scheduler,
    setStatus: (db: Database, status: DatabaseStatus) => void,
  ) {
    this.#ctx = ctx;
    this.#scheduler = scheduler;
    this.#setStatus = setStatus;
  }

  /**
   * Whether some database is looked at again in a moment anyway: then no event need wake us. One that waits for longer,
   * since its capture has failed, must not keep us from the others.
   */
  get isHot(): boolean {
    const untilMs = this.#ctx.clockMs() + HOT_MS;
    for (const { nextMs, queued } of this.#watches.values()) {
      if (!queued && nextMs !== undefined && nextMs <= untilMs) return true;
    }
    return false;
  }

  /** Something happened to its -wal or -shm. */
  touched(db: Database): void {
    const watch = this.#watch(db);
    watch.sizeTries = 0;
    watch.sizeMs = undefined;
    watch.touched = true;
    if (watch.nextMs === undefined && !watch.queued) this.#enqueue(db, watch);
  }

  /** Its -wal was written. */
  walWritten(db: Database): void {
    db.writes.walWritten();
    this.touched(db);
  }

  /** The database file was written: a commit without a journal, a copy, or a checkpoint. */
  fileWritten(db: Database): void {
    const watch = this.#watch(db);
    db.writes.written();
    watch.nextMs = this.#ctx.clockMs() + QUIET_MS;
  }

  /** Anything may have happened to it. In WAL mode the -wal tells. */
  eventsLost(db: Database): void {
    this.touched(db);
    db.writes.walEventsLost();
    if (this.#tellsByWal(db)) return;
    const watch = this.#watch(db);
    db.writes.eventsLost();
    watch.nextMs = this.#ctx.clockMs() + QUIET_MS;
  }

  /** false also of what cannot be read now. */
  #tellsByWal(db: Database): boolean {
    try {
      return isInWalMode(db);
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
      return false;
    }
  }

  /** A transaction with a rollback journal has begun. */
  journalBegun(db: Database): void {
    db.writes.journalBegun();
  }

  /** The database goes into WAL mode, or somebody opens it anew in that. */
  walMade(db: Database): void {
    db.writes.walMade();
  }

  /** The file is about to be cut to the size that its header says. */
  cutBegun(db: Database, mark: number): void {
    db.writes.cutBegun(mark, this.#ctx.clockMs());
  }

  /** It was: that is no commit. */
  cutEnded(db: Database, mark: number): void {
    db.writes.cutEnded(mark);
  }

  /**
   * Before what a journal tells of is captured, at its end. What was written before it began is not among that. false: there
   * is a -wal, and readers go by that. (Whoever leaves WAL mode removes the -wal before it begins its journal: another
   * connection may have made the next -wal in between.)
   */
  journalEnds(db: Database): boolean {
    // A -wal that was removed has a size still.
    db.files.closeReplaced();
    const hasWal = db.files.size('wal') > 0;
    if (!db.writes.journalEnded(hasWal ? 'wal' : 'journal')) db.suspicion = PAST_JOURNAL;
    if (hasWal) this.touched(db);
    return !hasWal;
  }

  /**
   * A handle of it was closed: what no event tells of shows now. A write shows a moment before its event comes, so that it is
   * looked at once more.
   */
  released(db: Database): void {
    const watch = this.#watch(db);
    try {
      if (!db.writes.isOtherwise(db.files.look('db'))) return;
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
      db.suspicion ??= `how it looks cannot be told: ${errorText(error)}`;
    }
    watch.looksOtherwise = true;
    watch.nextMs = this.#ctx.clockMs() + QUIET_MS;
  }

  /**
   * Before what was written is captured; the returned function comes behind that, when it has gone well. What changes meanwhile
   * without an event is not among what was captured, and shows the next time.
   */
  look(db: Database): () => void {
    const { writes } = db;
    if (!writes.isUnseen) return () => {};
    const [look, { count }] = [db.files.look('db'), writes];
    return () => {
      if (writes.isUnseen && writes.count === count) writes.seen(look);
    };
  }

  /** What was written has been captured by other means. */
  explained(db: Database): void {
    db.writes.explained();
  }

  /** It is gone, and with it whatever was wrong with it. */
  forget(db: Database): void {
    this.#watches.delete(db);
    db.writes = new FileWrites();
    db.wal.guard.release(db);
    this.#setStatus(db, { state: 'ok' });
  }

  /** Starts what is due. */
  poll(): void {
    const now = this.#ctx.clockMs();
    for (const [db, watch] of this.#watches) {
      const dueMs = dueAt(watch);
      if (dueMs !== undefined && dueMs <= now && !watch.queued) this.#enqueue(db, watch);
    }
  }

  /** ms until a database is to be looked at again, 0 for now; undefined for never. */
  nextInMs(): number | undefined {
    const now = this.#ctx.clockMs();
    let next: number | undefined;
    for (const watch of this.#watches.values()) {
      const dueMs = dueAt(watch);
      // One that is queued waits in the scheduler, which says when.
      if (dueMs === undefined || watch.queued) continue;
      const wait = Math.max(0, dueMs - now);
      if (next === undefined || wait < next) next = wait;
    }
    return next;
  }

  /** Captures now, as a step of another task of the same lane. `held`: an operation that waits for it. */
  *flush(db: Database, held?: HeldOperation): Task<CaptureOutcome> {
    // Too late: it would open files of the mount anew.
    if (this.#ctx.isDetached()) return inTheWay(db, 'the node is stopping');
    // Half of a transaction of the node with its halt lock: we hold the locks ourselves, and nobody else can commit.
    if (db.shown)
      return inTheWay(db, 'a transaction of the node with its halt lock is half written');
    if (db.aside !== undefined) {
      // In quarantine: its absence is no drop, and what takes its place is another file.
      if (!db.files.exists('db')) return 'done';
      db.suspicion = 'it was in quarantine';
    }
    const watch = this.#watch(db);
    watch.touched = false;
    const before = db.position.txid;
    let outcome: CaptureOutcome;
    let readersKnow = true;
    try {
      if (watch.looksOtherwise) this.#doubt(db, watch);
      this.#explain(db);
      const seen = this.look(db);
      outcome = yield* this.#captureOpened(db, held);
      if (outcome === 'done' || outcome === 'writing') seen();
      if (db.position.txid !== before) {
        yield* verifyStrictly(this.#ctx, db, () => capture(this.#ctx, db));
      } else if (outcome === 'done' && !held && watch.sizeTries < TELL_SIZE_TRIES) {
        // Not while somebody waits to remove its -shm: that is held, and what we write there would wait for them.
        readersKnow = tellSize(db) === 'told';
      }
    } catch (error) {
      if (error instanceof OpenWouldBlock) {
        watch.nextMs = this.#ctx.clockMs() + LOOK_UP_MS;
        db.obstacle = LOCKED_DIRECTORY;
        return 'again';
      }
      this.failed(db, error);
      return 'busy';
    }
    this.#settle(db, watch, outcome, db.position.txid - before);
    // Apart from the next look, which a sign of life must find undelayed.
    watch.sizeMs = readersKnow
      ? undefined
      : this.#ctx.clockMs() + TELL_SIZE_MS * 2 ** watch.sizeTries++;
    return outcome;
  }

  #doubt(db: Database, watch: Watch): void {
    watch.looksOtherwise = false;
    this.#ctx.drainEvents();
    // A page of a mapping that is not written back can be changed once more, and nothing shows it.
    db.files.sync('db');
    const look = db.files.look('db');
    if (!db.writes.isOtherwise(look)) return;
    db.suspicion ??= WITHOUT_EVENT;
    db.writes.seen(look);
  }

  /** Takes for a commit of its own what was written to the file without a journal or a -wal that tells of it. */
  #explain(db: Database): void {
    const { writes } = db;
    // A -wal that was removed explains nothing.
    db.files.closeReplaced();
    if (!writes.any || writes.isBeingCut(this.#ctx.clockMs())) return;
    const explanation = explanationOfWrites(db);
    // Its beginning is among the events by now.
    this.#ctx.drainEvents();
    if (!writes.areExplainedBy(explanation)) db.suspicion = PAST_JOURNAL;
    writes.settled();
  }

  /**
   * What a held operation ends can be captured now only, so names that must be looked up are waited for. Not while it is a
   * removal, whose directory the kernel keeps locked: then the look-up waits for us. Throws OpenWouldBlock then.
   */
  *#captureOpened(db: Database, held: HeldOperation | undefined): Task<CaptureOutcome> {
    const waits = held === 'header-sync' || held === 'truncate';
    for (let tries = 0; ; tries++) {
      try {
        return yield* capture(this.#ctx, db, held);
      } catch (error) {
        if (!(error instanceof OpenWouldBlock) || !waits || tries >= LOOK_UP_TRIES) throw error;
      }
      yield LOOK_UP_MS;
      if (this.#ctx.isDetached()) return 'busy';
    }
  }

  /** The same from beside its lane, again and again as long as something keeps us from reading. */
  flushPatiently(db: Database, patienceMs: number): Task<CaptureOutcome> {
    return this.#flushUntil(db, patienceMs, (outcome) => outcome !== 'busy' && outcome !== 'again');
  }

  /** The same, but what may keep us from reading for long is not waited for. */
  flushBriefly(db: Database, patienceMs: number): Task<CaptureOutcome> {
    return this.#flushUntil(db, patienceMs, (outcome) => outcome !== 'again');
  }

  *#flushUntil(
    db: Database,
    patienceMs: number,
    isEnough: (outcome: CaptureOutcome) => boolean,
  ): Task<CaptureOutcome> {
    const beside = { ctx: this.#ctx, scheduler: this.#scheduler };
    let outcome: CaptureOutcome = 'again';
    const attempt = function* (this: Follower): Task<CaptureOutcome | undefined> {
      outcome = yield* this.flush(db);
      return isEnough(outcome) ? outcome : undefined;
    };
    return (yield* untilTold(beside, db.name, patienceMs, attempt.bind(this))) ?? outcome;
  }

  /**
   * A capture failed, most likely because the disk is full: nothing is lost, the chain is taken up again
   * by a comparison. Throws again what is a bug.
   */
  failed(db: Database, error: unknown): void {
    if (!isOutsideFault(error)) throw error;
    const watch = this.#watch(db);
    db.suspicion = `a capture failed: ${errorText(error)}`;
    db.wal.guard.release(db);
    db.forgetWal();
    watch.nextMs = this.#ctx.clockMs() + BUSY_PATIENCE_MS;
    this.#degrade(db, errorText(error), 'error');
  }

  /** Told in the log once, however often it is tried again. */
  #degrade(db: Database, reason: string, level: 'warn' | 'error' = 'warn'): void {
    if (db.status.state !== 'degraded') {
      this.#ctx.log(level, `${db.name} cannot be captured for now: ${reason}`, {
        database: db.name,
      });
    }
    this.#setStatus(db, { state: 'degraded', reason });
  }

  #watch(db: Database): Watch {
    let watch = this.#watches.get(db);
    if (!watch) {
      watch = {
        nextMs: undefined,
        pollMs: GATHER_MS,
        queued: false,
        busySinceMs: undefined,
        touched: false,
        looksOtherwise: false,
        sizeTries: 0,
        sizeMs: undefined,
      };
      this.#watches.set(db, watch);
    }
    return watch;
  }

  #enqueue(db: Database, watch: Watch): void {
    watch.queued = true;
    this.#scheduler.add(
      db.name,
      () => this.flush(db),
      (error) => {
        watch.queued = false;
        throwBug(error);
      },
    );
  }

  #settle(db: Database, watch: Watch, outcome: CaptureOutcome, commits: number): void {
    const now = this.#ctx.clockMs();
    if (outcome === 'done' || outcome === 'writing') {
      watch.busySinceMs = undefined;
      if (db.status.state === 'degraded') this.#setStatus(db, { state: 'ok' });
    }
    switch (outcome) {
      case 'done':
        // One more look after commits: in a series the next one is likely to be there.
        watch.pollMs = GATHER_MS;
        watch.nextMs = commits > 0 ? now + GATHER_MS : undefined;
        break;
      case 'writing':
        watch.pollMs = commits > 0 ? GATHER_MS : Math.min(WRITING_POLL_MS_MAX, watch.pollMs * 1.5);
        watch.nextMs = now + watch.pollMs;
        break;
      case 'again':
      case 'busy':
        if (watch.busySinceMs === undefined) {
          const text = `${db.name} cannot be captured yet: ${db.obstacle}`;
          this.#ctx.log('debug', text, { database: db.name, txid: db.position.txid });
        }
        watch.busySinceMs ??= now;
        watch.nextMs = now + BUSY_POLL_MS;
        if (now - watch.busySinceMs >= BUSY_PATIENCE_MS) {
          this.#degrade(db, `changes cannot be read: ${db.obstacle}`);
        }
        break;
      case 'damaged':
        watch.nextMs = undefined;
        this.#degrade(db, 'the file is not a whole SQLite database (is it being copied?)');
        break;
    }
    // What came meanwhile may be later than what was read.
    if (watch.touched) watch.nextMs ??= now + GATHER_MS;
    if (db.writes.any || watch.looksOtherwise) watch.nextMs ??= now + QUIET_MS;
  }
}

function inTheWay(db: Database, obstacle: string): CaptureOutcome {
  db.obstacle = obstacle;
  return 'busy';
}

/** When to look again, or to try to tell readers the size, whichever comes first. */
function dueAt({ nextMs, sizeMs }: Watch): number | undefined {
  if (nextMs === undefined || sizeMs === undefined) return nextMs ?? sizeMs;
  return Math.min(nextMs, sizeMs);
}
