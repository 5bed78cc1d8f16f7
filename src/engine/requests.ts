/** What main may ask of the engine (protocol.ts): for each call the lane it runs in and the task that serves it. */
import { LiteFsError } from '../errors.ts';
import { decodeSums, encodeSums } from '../store/page-sums.ts';
import { checkSize } from './apply/announced.ts';
import { keepWhole } from './apply/divergence.ts';
import { dropFiles } from './apply/new-database.ts';
import { takeOwnership } from './apply/replica-ownership.ts';
import { ResyncTask } from './apply/resync.ts';
import type { Follower } from './capture/follower.ts';
import type { CaptureOutcome, EngineContext, Role } from './core/context.ts';
import type { Database, DatabaseStatus } from './core/database.ts';
import { sayDiskFault } from './core/insist.ts';
import type { Registry } from './core/registry.ts';
import { forgetState } from './core/saved-state.ts';
import { flushAll } from './every-lane.ts';
import { type HaltBorrower, untilReadOnly } from './halt/borrower.ts';
import type { HaltLender } from './halt/lender.ts';
import { RewriteTask } from './halt/rewrite.ts';
import { databaseInfo } from './info.ts';
import type { Maintenance } from './maintenance.ts';
import type { EngineCalls, Uncaptured } from './protocol.ts';
import { CUT_BUSY_MS_MAX, PageCutter } from './read/cut.ts';
import { verifyDatabase } from './read/verify.ts';
import { checksumAfter, verifyPart } from './read/verify-part.ts';
import { type Beside, ownLane, untilTold } from './tasks/beside.ts';
import { asTask, type Task } from './tasks/scheduler.ts';
import { wireEntry } from './wire-entry.ts';

type Args<K extends keyof EngineCalls> = EngineCalls[K]['args'];
type Result<K extends keyof EngineCalls> = EngineCalls[K]['result'];

/** All but what has a queue of its own (incoming.ts). */
export type Handlers = {
  readonly [K in Exclude<keyof EngineCalls, 'apply'>]: {
    lane(args: Args<K>): string;
    /** A result at once, or a task that has it in the end. */
    run(args: Args<K>): Task<Result<K>> | Result<K>;
  };
};

/** The lane of what concerns no single database. */
const GENERAL_LANE = '';
/** How long a flush waits for a lock that keeps it from reading. */
const FLUSH_PATIENCE_MS = 2000;
/** Before the mount is there, and when the node stops. */
const IDLE = 'nothing is captured at present';
/** How long verify waits for the end of a transaction that has a page. */
const VERIFY_PATIENCE_MS = 1000;
const BUSY_REST_MS = 1;

/** Waits for applications, and must not hold up others. */
const HALT_END_LANE = '\0halt-end';
const HALT_END_MS_MAX = 2000;

interface Cut {
  readonly db: Database;
  readonly cutter: PageCutter;
}

interface Resync {
  readonly db: Database;
  readonly task: ResyncTask;
}

interface Rewrite {
  readonly db: Database;
  readonly task: RewriteTask;
}

/** What the requests are made of. */
export interface EngineWork extends Beside {
  readonly ctx: EngineContext;
  readonly registry: Registry;
  readonly follower: Follower;
  readonly halts: HaltBorrower;
  readonly lender: HaltLender;
  readonly role: Role;
  /** Whether changes are captured: on a primary, while attached. */
  readonly captures: boolean;
  attach(): Task<void>;
  detach(): Task<void>;
  stop(isUnused: boolean): void;
  dropped(db: Database): void;
  setStatus(db: Database, status: DatabaseStatus): void;
}

/** Of what became of a flush: that it cannot be told whether all is captured. */
function uncaptured(db: Database, outcome: CaptureOutcome | undefined): Uncaptured[] {
  if (outcome === 'done' || outcome === 'writing') return [];
  const { name, status, obstacle } = db;
  return [{ database: name, reason: status.state === 'ok' ? obstacle : status.reason }];
}

export function requestHandlers(engine: EngineWork, maintenance: Maintenance): Handlers {
  const { ctx, registry, scheduler, follower } = engine;
  const cuts = new Map<number, Cut>();
  const resyncs = new Map<number, Resync>();
  const rewrites = new Map<number, Rewrite>();
  let nextHandle = 1;

  const known = (name: string): Database => {
    const db = registry.get(name);
    if (db) return db;
    throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${name} here`);
  };
  const opened = (name: string): Database => registry.replicated(name);
  const handle = <T>(from: Map<number, T>, id: number): T => {
    const found = from.get(id);
    if (found) return found;
    throw new LiteFsError('WRONG_STATE', 'that transfer has ended already');
  };
  function* flushed(db: Database): Task<void> {
    if (engine.captures) yield* follower.flush(db);
  }
  /** A step of a resync; when the disk refuses it, the status says so. */
  function* saying(db: Database, step: () => Task<void> | void): Task<void> {
    try {
      yield* asTask(step);
    } catch (error) {
      sayDiskFault(ctx, db, error);
      throw error;
    }
  }
  const named = (args: { database: string }) => args.database;
  const cutLane = (args: { cut: number }) => handle(cuts, args.cut).db.name;
  const resyncLane = (args: { resync: number }) => handle(resyncs, args.resync).db.name;

  return {
    attach: {
      lane: () => GENERAL_LANE,
      *run() {
        yield* engine.attach();
        return null;
      },
    },
    flush: {
      lane: ownLane,
      *run({ database }) {
        if (engine.role === 'replica') return [];
        const asked = database === undefined ? [...registry] : [known(database)];
        // All of one that is lent was captured then. In its lane a transaction may wait for readers, however long.
        const ours = asked.filter((db) => !engine.lender.isLent(db));
        if (!engine.captures) return ours.map(({ name }) => ({ database: name, reason: IDLE }));
        if (database !== undefined) {
          const [db] = ours;
          return db ? uncaptured(db, yield* follower.flushPatiently(db, FLUSH_PATIENCE_MS)) : [];
        }
        const parts = { ctx, scheduler, follower, registry: ours };
        const outcomes = yield* flushAll(parts, FLUSH_PATIENCE_MS);
        return ours.flatMap((db) => uncaptured(db, outcomes.get(db)));
      },
    },
    detach: {
      lane: () => GENERAL_LANE,
      *run() {
        yield* engine.detach();
        return null;
      },
    },
    stop: {
      lane: () => GENERAL_LANE,
      *run({ isUnused }) {
        yield* maintenance.drained();
        engine.stop(isUnused);
        return null;
      },
    },
    info: {
      lane: () => GENERAL_LANE,
      run() {
        const shown = (db: Database) => db.pageCount > 0 || db.status.state !== 'ok';
        return [...registry].filter(shown).map(databaseInfo);
      },
    },
    tallies: {
      lane: () => GENERAL_LANE,
      run: () => [...registry].map(({ name, tally }) => ({ name, ...tally })),
    },
    verify: {
      lane: named,
      *run({ database, recall }) {
        const db = known(database);
        yield* untilReadOnly(db);
        // Before what it finds changes the position.
        const recalled = recall === undefined ? undefined : checksumAfter(db, recall);
        return { ...(yield* verifyDatabase(ctx, db)), recalled };
      },
    },
    verifyPart: {
      lane: ownLane,
      *run({ database, from }) {
        const db = known(database);
        const flush = () => follower.flush(db);
        let busy: unknown;
        const part = yield* untilTold(engine, database, VERIFY_PATIENCE_MS, function* () {
          if (!engine.captures) throw new LiteFsError('WRONG_STATE', 'the node is stopping');
          try {
            return yield* verifyPart(ctx, db, from, flush);
          } catch (error) {
            if (!(error instanceof LiteFsError) || error.code !== 'DATABASE_BUSY') throw error;
            busy = error;
            return undefined;
          }
        });
        if (!part) throw busy;
        return part;
      },
    },
    readLog: {
      lane: named,
      run({ database, after, maxBytes }) {
        const db = registry.get(database);
        if (!db) return { kind: 'unavailable', reason: 'there is no such database' };
        const slice = db.log.read(after, maxBytes);
        if (slice.kind === 'unavailable') return upToDate(db, after) ?? slice;
        const entries = slice.entries.map((entry) => wireEntry(database, entry, undefined));
        const databaseBytes = db.pageCount * db.pageSize;
        return { kind: 'entries', entries, logBytes: db.log.bytes, databaseBytes };
      },
    },
    cutBegin: {
      lane: named,
      *run({ database, theirs }) {
        const db = known(database);
        yield* flushed(db);
        const comparable = theirs?.pageSize === db.pageSize ? theirs.checksums : undefined;
        const cutter = new PageCutter(db, comparable && decodeSums(comparable));
        const cut = nextHandle++;
        cuts.set(cut, { db, cutter });
        const { position, pageSize, pageCount } = cutter;
        return { cut, position, pageSize, pageCount };
      },
    },
    cutInto: {
      lane: ownLane,
      *run({ cut, into }) {
        const { db, cutter } = handle(cuts, cut);
        const out = Buffer.from(into);
        const found = yield* untilTold(engine, db.name, CUT_BUSY_MS_MAX, function* () {
          handle(cuts, cut);
          const filled = yield* cutter.next(out, () => flushed(db));
          if (filled === undefined) return undefined;
          return filled === 'end' ? { end: db.position } : { bytes: filled };
        });
        if (!found) throw cutter.busy();
        return found;
      },
    },
    cutClose: {
      lane: cutLane,
      run({ cut }) {
        handle(cuts, cut).cutter.close();
        cuts.delete(cut);
        return null;
      },
    },
    pageCount: {
      lane: () => GENERAL_LANE,
      run: ({ database }) => registry.get(database)?.pageCount ?? 0,
    },
    pageChecksums: {
      lane: named,
      run({ database }) {
        const db = registry.get(database);
        if (!db || db.pageCount === 0) return undefined;
        return { pageSize: db.pageSize, checksums: encodeSums(db.sums.view()) };
      },
    },
    resyncBegin: {
      lane: named,
      *run({ database, ...base }) {
        checkSize(database, base);
        const db = opened(database);
        engine.setStatus(db, { state: 'syncing', reason: 'it is being resynchronised' });
        // What could not be finished need not be sent.
        yield* saying(db, () => db.files.refuseOthers());
        const resync = nextHandle++;
        resyncs.set(resync, { db, task: new ResyncTask(ctx, db, base) });
        return { resync };
      },
    },
    resyncPages: {
      lane: resyncLane,
      *run({ resync, records, bytes }) {
        const { db, task } = handle(resyncs, resync);
        yield* saying(db, () => task.pages(Buffer.from(records, 0, bytes)));
        return null;
      },
    },
    resyncEntry: {
      lane: resyncLane,
      *run({ resync, source }) {
        const { db, task } = handle(resyncs, resync);
        yield* saying(db, () => task.entry(source));
        return null;
      },
    },
    resyncFinish: {
      lane: resyncLane,
      *run({ resync, position }) {
        const { db, task } = handle(resyncs, resync);
        resyncs.delete(resync);
        try {
          yield* untilReadOnly(db);
          yield* saying(db, () => task.finish(position));
          engine.setStatus(db, { state: 'ok' });
        } catch (error) {
          task.abort();
          throw error;
        }
        return null;
      },
    },
    resyncAbort: {
      lane: resyncLane,
      run({ resync }) {
        const { db, task } = handle(resyncs, resync);
        resyncs.delete(resync);
        task.abort();
        if (db.status.state === 'syncing') engine.setStatus(db, { state: 'ok' });
        return null;
      },
    },
    drop: {
      lane: named,
      *run({ database, diverged }) {
        const db = registry.get(database);
        if (!db) return null;
        yield* untilReadOnly(db);
        // Without a position it may be what somebody had put here.
        if ((diverged && db.pageCount > 0) || db.position.txid === 0) keepWhole(ctx, db);
        dropFiles(db);
        forgetState(db);
        engine.dropped(db);
        return null;
      },
    },
    own: {
      lane: named,
      run({ database, ownership }) {
        takeOwnership(ctx, opened(database), ownership);
        return null;
      },
    },
    haltLend: {
      lane: ownLane,
      *run({ database, waitMs }) {
        const db = known(database);
        if (!engine.captures) throw new LiteFsError('WRONG_STATE', 'the node is stopping');
        yield* engine.lender.lend(db, waitMs);
        return db.position;
      },
    },
    haltCommit: {
      lane: named,
      run: ({ database, source }) => engine.lender.commit(known(database), source),
    },
    haltReturn: {
      lane: named,
      run({ database }) {
        const db = registry.get(database);
        if (db) engine.lender.takeBack(db);
        return null;
      },
    },
    rewriteBegin: {
      // Reads all of the file: what is done with the database goes on beside it.
      lane: ({ database }) => `\0rewrite ${database}`,
      *run({ database, image }) {
        const db = known(database);
        const task = new RewriteTask(ctx, engine.lender, db, image);
        try {
          yield* task.read();
        } catch (error) {
          task.close();
          throw error;
        }
        const rewrite = nextHandle++;
        rewrites.set(rewrite, { db, task });
        return { rewrite };
      },
    },
    rewriteFinish: {
      lane: ({ rewrite }) => handle(rewrites, rewrite).db.name,
      run: ({ rewrite }) => handle(rewrites, rewrite).task.finish(),
    },
    rewriteClose: {
      lane: ({ rewrite }) => handle(rewrites, rewrite).db.name,
      run({ rewrite }) {
        handle(rewrites, rewrite).task.close();
        rewrites.delete(rewrite);
        return null;
      },
    },
    haltBegin: {
      lane: named,
      *run({ database, position }) {
        yield* engine.halts.begin(known(database), position);
        return null;
      },
    },
    haltAnswer: {
      lane: () => GENERAL_LANE,
      run({ database, commit, error }) {
        const db = registry.get(database);
        if (db) engine.halts.answer(db, commit, error);
        return null;
      },
    },
    haltEnd: {
      lane: () => HALT_END_LANE,
      *run({ database, reason }) {
        const db = registry.get(database);
        const halt = db?.halt;
        if (!halt) return null;
        engine.halts.end(db, reason);
        const untilMs = ctx.clockMs() + HALT_END_MS_MAX;
        while (db.halt === halt && ctx.clockMs() < untilMs) yield BUSY_REST_MS;
        return null;
      },
    },
    pin: {
      lane: () => GENERAL_LANE,
      run({ by, txids }) {
        maintenance.pin(by, txids);
        return null;
      },
    },
  };
}

/** A reader that has what we have needs nothing, even when the log is empty. */
function upToDate(db: Database, after: { txid: number; checksum: bigint }) {
  const { position } = db;
  const same = position.txid === after.txid && position.checksum === after.checksum;
  if (!same) return undefined;
  return { kind: 'entries', entries: [], logBytes: 0, databaseBytes: 0 } as const;
}
