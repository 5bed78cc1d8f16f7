/**
 * The engine: the only owner of what is known of the databases. It runs synchronously on a thread of its own:
 * worker.ts feeds it messages and calls step() until there is nothing to do.
 */

import { randomInt } from 'node:crypto';
import fs from 'node:fs';
import { errorText, isDiskFault, isOutsideFault, LiteFsError } from '../errors.ts';
import type { Resumption } from '../fuse/policy.ts';
import { ZERO_POSITION } from '../ltx/position.ts';
import { resumeName } from '../mount/names.ts';
import { SharedState } from '../mount/shared-state.ts';
import { SystemAccounts } from '../os/accounts.ts';
import { getxattrExists } from '../os/xattr.ts';
import { decodeName, layoutOf } from '../store/layout.ts';
import { type StoredEntry, syncDirectory } from '../store/log-files.ts';
import { TreeDoor } from '../store/tree-door.ts';
import { IdleCheckpoints } from './apply/checkpoints.ts';
import { Obstacles } from './apply/obstacles.ts';
import { copyFrames, prepareFiles, settleFiles, takeOverFiles } from './apply/replica-files.ts';
import { recallOwnership } from './apply/replica-ownership.ts';
import { BackgroundVerify } from './capture/background-verify.ts';
import { Follower } from './capture/follower.ts';
import { beginOwnership, tellOwnership } from './capture/tell-ownership.ts';
import { toWire } from './client.ts';
import type { EngineContext } from './core/context.ts';
import type { Database, DatabaseStatus } from './core/database.ts';
import { Registry } from './core/registry.ts';
import { emptySpool } from './core/transaction-writer.ts';
import { endTasks, flushAll } from './every-lane.ts';
import { scanTree } from './files/tree-scan.ts';
import { TreeWatcher } from './files/watcher.ts';
import { HaltBorrower } from './halt/borrower.ts';
import { HaltLender } from './halt/lender.ts';
import { Incoming } from './incoming.ts';
import { Maintenance } from './maintenance.ts';
import { MountEvents } from './mount-events.ts';
import type { EngineNews, EngineOptions, EngineRequest, MountMessage } from './protocol.ts';
import { type Look, lookAtAll, lookAtFiles, writeMarkers } from './recover/markers.ts';
import { endQuarantine, isKeptByReplicas, recoverOrQuarantine } from './recover/quarantine.ts';
import { leaveSuperJournal, removeSuperJournal } from './recover/super-journal.ts';
import { type Handlers, requestHandlers } from './requests.ts';
import { asTask, Scheduler, type Task } from './tasks/scheduler.ts';
import { wireEntry } from './wire-entry.ts';

/** How long what is under way at a stop may take to end by itself. */
const DETACH_MS_MAX = 3000;

/** What comes in from outside, so that a simulation can drive it. */
export interface Outside {
  wallClockMs(): number;
  /** Monotonic. */
  clockMs(): number;
  random32(): number;
  /** Whether a folder has an extended attribute of that name. */
  hasAttribute(folder: string, name: string): boolean;
}

const SYSTEM: Outside = {
  wallClockMs: () => Date.now(),
  clockMs: () => performance.now(),
  random32: () => randomInt(2 ** 32),
  hasAttribute: getxattrExists,
};

/** Sends news to main; what is in `transfer` is given away with it. */
export type PostNews = (news: EngineNews, transfer?: ArrayBuffer[]) => void;

export class Engine {
  readonly ctx: EngineContext;
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  readonly follower: Follower;
  readonly halts: HaltBorrower;
  readonly lender: HaltLender;
  readonly shared: SharedState;
  readonly options: EngineOptions;
  /** Where databases are reached: the tree itself until attach(). */
  readonly #roots: {
    mount: TreeDoor;
    readonly tree: TreeDoor;
    lookUp?: (name: string) => void;
    names?: () => number;
    passesAll?: () => boolean;
  };
  readonly #askForLookUp = (name: string) => {
    this.#post({ kind: 'look-up', name });
  };
  readonly #events: MountEvents;
  readonly #backgroundVerify: BackgroundVerify;
  readonly #obstacles: Obstacles;
  readonly #maintenance: Maintenance;
  readonly #idle: IdleCheckpoints;
  readonly #handlers: Handlers;
  readonly #incoming: Incoming;
  readonly #post: PostNews;
  readonly #outside: Outside;
  #watcher: TreeWatcher | undefined;
  /** On a primary: how databases looked before everything in them was captured. */
  #captured = new Map<Database, Look>();
  #state: 'recovering' | 'attached' | 'detached' | 'stopped' = 'recovering';

  constructor(options: EngineOptions, post: PostNews, outside = SYSTEM) {
    this.options = options;
    this.#outside = outside;
    this.#post = post;
    this.shared = new SharedState(options.shared);
    const layout = layoutOf(options.dataDir);
    const tree = new TreeDoor(layout.tree);
    this.#roots = { mount: tree, tree };
    this.ctx = {
      layout,
      tree,
      nodeId: BigInt(`0x${options.nodeId}`),
      compress: options.compress,
      strictVerify: options.strictVerify,
      wallClockMs: outside.wallClockMs,
      clockMs: outside.clockMs,
      random32: outside.random32,
      drainEvents: () => this.#events.drainWrites(),
      isDetached: () => this.#state === 'detached' || this.#state === 'stopped',
      emitEntry: (db, entry, bytes) => this.#emitEntry(db, entry, bytes),
      accounts: new SystemAccounts(),
      ownershipOverride: options.ownershipOverride,
      emitOwnership: ({ name, ownership }) => {
        if (ownership) post({ kind: 'ownership', database: name, ownership });
      },
      emitPosition: (db) => {
        if (db.wal.cursor && this.role === 'replica') this.#idle.written(db);
        post({ kind: 'position', database: db.name, position: db.position });
      },
      recovering: (db) => post({ kind: 'recovering', database: db.name }),
      setStatus: (db, status) => this.setStatus(db, status),
      log: (level, message, fields = {}) => post({ kind: 'log', level, message, fields }),
    };
    this.scheduler = new Scheduler(this.ctx.clockMs);
    this.registry = new Registry(layout, this.#roots, options.databases, (message) =>
      this.ctx.log('warn', message),
    );
    this.follower = new Follower(this.ctx, this.scheduler, (db, status) =>
      this.setStatus(db, status),
    );
    this.#idle = new IdleCheckpoints(this.ctx, this.scheduler);
    this.halts = new HaltBorrower({
      ctx: this.ctx,
      scheduler: this.scheduler,
      shared: this.shared,
      ask: (database, commit, source) => post({ kind: 'commit', database, commit, source }),
    });
    this.lender = new HaltLender({
      ctx: this.ctx,
      scheduler: this.scheduler,
      shared: this.shared,
      mountDir: options.mountDir,
      flush: (db) => this.follower.flush(db),
      makeWal: (db) => post({ kind: 'make-wal', database: db.name }),
      explained: (db) => {
        this.#events.drainWrites();
        this.follower.explained(db);
      },
    });
    this.#obstacles = new Obstacles(this.ctx, this.scheduler, () => this.#state === 'attached');
    this.#events = new MountEvents({
      ctx: this.ctx,
      registry: this.registry,
      scheduler: this.scheduler,
      follower: this.follower,
      watcher: () => this.#watcher,
      captures: () => this.captures,
      halts: this.halts,
      isLent: (db) => this.lender.isLent(db),
      obstacles: this.#obstacles,
      resume: (how, answer) => this.#resume(how, answer),
      emitDropped: (db) => this.#postDropped(db),
    });
    this.#maintenance = new Maintenance(this.ctx, this.registry, this.scheduler, options);
    this.#backgroundVerify = new BackgroundVerify({
      ctx: this.ctx,
      registry: this.registry,
      scheduler: this.scheduler,
      follower: this.follower,
      periodMs: options.verifyPeriodMs,
      captures: () => this.captures,
    });
    this.#handlers = requestHandlers(this, this.#maintenance);
    this.#incoming = new Incoming(this);
  }

  get role(): 'primary' | 'replica' {
    return this.shared.role;
  }

  get captures(): boolean {
    return this.#state === 'attached' && this.role === 'primary';
  }

  get isStopped(): boolean {
    return this.#state === 'stopped';
  }

  /** Descriptors to wait on besides the messages. Not while we look by ourselves all the time. */
  get pollFds(): readonly number[] {
    return this.#watcher && !this.follower.isHot ? [this.#watcher.fd] : [];
  }

  /** Before mounting: brings every database into a known state. Throws DISK when the disk does not let us. */
  recover(): void {
    emptySpool(this.ctx.layout.spool);
    const { tree } = this.ctx;
    const names = new Set(scanTree(tree));
    const superJournals = new Set<string>();
    for (const encoded of fs.readdirSync(this.ctx.layout.ltx)) names.add(decodeName(encoded));
    for (const name of names) {
      const db = this.registry.open(name);
      if (!db) continue;
      let isKnown: boolean;
      let other: LiteFsError | undefined;
      try {
        const superJournal = leaveSuperJournal(tree, name);
        if (superJournal !== undefined) superJournals.add(superJournal);
        isKnown = recoverOrQuarantine(this.ctx, db, this.options);
        other = db.files.inTheWay();
        if (this.role === 'primary') beginOwnership(this.ctx, db);
        else if (isKnown) recallOwnership(this.ctx, db);
        if (isKnown && !other && this.role === 'replica') prepareFiles(this.ctx, db);
      } catch (error) {
        throw asStartFault(name, error);
      }
      db.files.close();
      if (other && (db.pageCount > 0 || db.files.exists('db'))) this.#cannotUse(db, other);
      else if (!isKnown) this.registry.forget(db);
      else if (db.aside !== undefined) this.#saysAside(db, db.aside);
    }
    // A marker that came back after a power failure would say that nothing was written since.
    syncDirectory(this.ctx.layout.state);
    for (const superJournal of superJournals) removeSuperJournal(tree, superJournal);
    // What a start that fails before the mount leaves: nobody can have written until then.
    for (const db of this.registry) this.#captured.set(db, lookAtFiles(db));
    this.#post({
      kind: 'recovered',
      databases: [...this.registry]
        .filter((db) => db.pageCount > 0 || isEnded(db))
        .map((db) => ({ name: db.name, position: db.position })),
      aside: [...this.registry].filter(isKeptByReplicas).map((db) => db.name),
    });
  }

  /** It is tried again, until what is in the way has gone. */
  #cannotUse(db: Database, error: unknown): void {
    if (this.role === 'primary') this.follower.failed(db, error);
    else this.#obstacles.failed(db, error);
  }

  #saysAside(db: Database, why: string): void {
    const reason = `${why}. It is in quarantine/; replicas keep what they have until another takes its place`;
    this.setStatus(db, { state: 'degraded', reason });
  }

  /** The mount is there. */
  *attach(): Task<void> {
    this.#roots.mount = new TreeDoor(this.options.mountDir);
    this.#roots.names = () => this.shared.names;
    this.#roots.passesAll = () => this.shared.passesAll;
    this.#state = 'attached';
    if (this.role === 'primary') {
      this.#roots.lookUp = this.#askForLookUp;
      const watcher = new TreeWatcher(this.ctx.tree);
      watcher.watchCuts(this.ctx.layout.cuts);
      scanTree(this.ctx.tree, '', (dir) => watcher.watch(dir));
      this.#watcher = watcher;
      return;
    }
    yield* takeOverFiles(this.registry, (db, error) => this.#obstacles.failed(db, error));
  }

  /** Captures the last of it and closes all that is open in the mount. */
  *detach(): Task<void> {
    if (this.captures) {
      this.ctx.drainEvents();
      for (const db of this.registry) this.follower.released(db);
      const looks = yield* lookAtAll(this.ctx, this.registry);
      const outcomes = yield* flushAll(this, 0, DETACH_MS_MAX);
      this.#captured = new Map([...looks].filter(([db]) => outcomes.get(db) === 'done'));
    }
    this.halts.detach();
    this.#state = 'detached';
    yield* endTasks(this, DETACH_MS_MAX);
    this.#watcher?.close();
    this.#watcher = undefined;
    for (const db of this.registry) {
      db.wal.guard.release(db);
      if (this.role === 'replica') yield* copyFrames(this.ctx, db);
      db.files.close();
    }
    this.leaveMount();
  }

  /** Lets go of the mount itself, which cannot be unmounted as long as we have it open. */
  leaveMount(): void {
    if (this.#roots.mount !== this.ctx.tree) this.#roots.mount.close();
  }

  /** After the unmount: leaves the markers of a clean stop. `isUnused`: nobody has a file of the mount open. */
  stop(isUnused: boolean): void {
    this.#roots.mount = this.ctx.tree;
    this.#roots.lookUp = undefined;
    this.#roots.names = undefined;
    this.#roots.passesAll = undefined;
    // Main waits for the end of this thread, whatever becomes of the markers.
    this.#state = 'stopped';
    if (this.role === 'replica') {
      for (const db of this.registry) settleFiles(this.ctx, db, isUnused);
    }
    writeMarkers(this.ctx, this.registry, this.role === 'primary' ? this.#captured : undefined);
  }

  request(request: EngineRequest): void {
    const { id, call, args } = request;
    const reply = (error: unknown, result: unknown) => {
      if (error !== undefined) this.#post({ kind: 'reply', id, error: toWire(asDiskFault(error)) });
      else this.#post({ kind: 'reply', id, result });
    };
    if (call === 'apply') {
      this.#incoming.apply(args.database, args.source, reply);
      return;
    }
    const handler = this.#handlers[call];
    let lane: string;
    try {
      lane = handler.lane(args as never);
    } catch (error) {
      reply(error, undefined);
      return;
    }
    this.scheduler.add(lane, () => asTask(() => handler.run(args as never)), reply);
  }

  /** A replica has removed a database that its primary does not have, and forgotten its history. */
  dropped(db: Database): void {
    db.position = ZERO_POSITION;
    this.follower.forget(db);
    this.#postDropped(db);
  }

  #postDropped(db: Database): void {
    this.#post({ kind: 'dropped', database: db.name, isInLog: db.position.txid > 0 });
  }

  mountMessage(message: MountMessage): void {
    if (message.kind === 'deferred') this.#events.deferred(message.operation);
    else this.#events.event(message.event);
  }

  /** Does what is to be done now. Returns how long to wait for more, in ms; undefined for until a message. */
  step(): number | undefined {
    this.#events.drainWrites();
    this.#maintenance.poll();
    if (this.#state === 'attached') {
      this.#backgroundVerify.poll();
      this.#idle.poll();
      this.#obstacles.poll();
    }
    if (this.captures) this.follower.poll();
    this.scheduler.step();
    // Asked after the step: a capture that has just ended says when to look again.
    const waits = [
      this.captures ? this.follower.nextInMs() : undefined,
      this.scheduler.nextInMs(),
      this.#maintenance.nextInMs(),
      ...(this.#state === 'attached'
        ? [this.#backgroundVerify, this.#idle, this.#obstacles].map((it) => it.nextInMs())
        : []),
    ];
    const due = waits.filter((wait) => wait !== undefined);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  setStatus(db: Database, status: DatabaseStatus): void {
    const same =
      db.status.state === status.state &&
      ('reason' in db.status ? db.status.reason : '') === ('reason' in status ? status.reason : '');
    if (same) return;
    if (db.status.state !== status.state) db.statusSinceMs = this.ctx.wallClockMs();
    db.status = status;
    this.#post({ kind: 'status', database: db.name, status });
  }

  #resume({ token, errno, perform }: Resumption, answer: string | undefined): void {
    if (answer !== undefined) this.shared.setAnswer(answer);
    const { mountDir } = this.options;
    if (this.#outside.hasAttribute(mountDir, resumeName(token, errno, perform))) return;
    // While the node stops, the mount may be gone, and all that was held with it.
    if (this.#state !== 'attached') return;
    throw new LiteFsError(
      'FUSE_UNAVAILABLE',
      `${mountDir} does not lead to the mount of this node any more, whose files are in use: it was unmounted (umount -l), or something is mounted over it`,
      { hint: 'Start the node again; it then mounts its files anew.' },
    );
  }

  /** Before the first of its entries; later changes are events. `exists`: not behind its drop. */
  #tellOwnership(db: Database, exists: boolean): void {
    if (!exists) db.ownership = undefined;
    if (!exists || db.ownership) return;
    try {
      tellOwnership(this.ctx, db);
    } catch (error) {
      // The next entry tells it. Until then replicas show it to root alone.
      if (!isOutsideFault(error)) throw error;
    }
  }

  #emitEntry(db: Database, entry: StoredEntry, bytes: Uint8Array | undefined): void {
    if (db.aside !== undefined) {
      endQuarantine(db);
      this.setStatus(db, { state: 'ok' });
    }
    if (db.wal.cursor && this.role === 'replica') this.#idle.written(db);
    if (this.role === 'primary') this.#tellOwnership(db, entry.commit > 0);
    // A copy of its own: a view of a larger buffer would be sent with all of it.
    const own = bytes && new Uint8Array(bytes);
    this.#post({ kind: 'entry', entry: wireEntry(db.name, entry, own) }, own ? [own.buffer] : []);
    if (entry.commit > 0 || this.role === 'primary') return;
    this.follower.forget(db);
    this.#postDropped(db);
  }
}

/** Whether its newest entry is its drop. */
function isEnded({ position, pageCount }: Database): boolean {
  return pageCount === 0 && position.txid > 0 && position.checksum === 0n;
}

/** What refuses the start: nothing is tried again by itself then. */
function asStartFault(database: string, error: unknown): unknown {
  if (!isDiskFault(error)) return error;
  return new LiteFsError('DISK', `${database} cannot be recovered: ${errorText(error)}`, {
    hint: 'Nothing is lost. Free space on the disk of data.dir, or mend it, and start again.',
    cause: error,
  });
}

/** A failed system call below data.dir or in the mount is the disk's fault, not a bug. */
function asDiskFault(error: unknown): unknown {
  if (!(error instanceof Error) || !('errno' in error)) return error;
  return new LiteFsError('DISK', error.message, {
    hint: 'Is the disk of data.dir full, or failing? It is tried again.',
    cause: error,
  });
}
