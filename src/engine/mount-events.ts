/**
 * What the mount tells the engine: operations that it holds back until we have captured, and things that
 * have happened. An operation is always let go on in the end, whatever became of the capture.
 *
 * An event that cannot be followed, since the disk or the system refuses what that needs, is lost as one that the kernel drops:
 * everything is looked at again, until that succeeds.
 */
import { errorText, isOutsideFault, LiteFsError, throwBug } from '../errors.ts';
import type { DeferredOperation, Resumption, TreeEvent } from '../fuse/policy.ts';
import { formatPosition } from '../ltx/position.ts';
import { fileRole, POSITION_SUFFIX } from '../mount/names.ts';
import { errno } from '../os/libc.ts';
import { parentOf } from '../store/tree-door.ts';
import type { Obstacles } from './apply/obstacles.ts';
import { captureAtJournalEnd } from './capture/capture.ts';
import type { HeldOperation } from './capture/capture-wal.ts';
import type { Follower } from './capture/follower.ts';
import { tellOwnership } from './capture/tell-ownership.ts';
import type { EngineContext } from './core/context.ts';
import type { Database } from './core/database.ts';
import type { Registry } from './core/registry.ts';
import { writeDrop } from './core/transaction-writer.ts';
import { isDatabaseFile, scanTree } from './files/tree-scan.ts';
import type { TreeWatcher } from './files/watcher.ts';
import { type HaltBorrower, laneOf } from './halt/borrower.ts';
import { verifyStrictly } from './read/verify.ts';
import { ownLane } from './tasks/beside.ts';
import { asTask, type Scheduler, type Task } from './tasks/scheduler.ts';

export interface MountEventParts {
  readonly ctx: EngineContext;
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  readonly follower: Follower;
  readonly watcher: () => TreeWatcher | undefined;
  /** Whether changes are captured: on a primary, while attached. */
  readonly captures: () => boolean;
  readonly halts: HaltBorrower;
  /** Whether its write lock is lent to another node. */
  readonly isLent: (db: Database) => boolean;
  readonly obstacles: Obstacles;
  /**
   * Lets a held operation go on; `answer` is the content of the virtual file that is opened. Throws FUSE_UNAVAILABLE when
   * the mount is not to be reached: the application would wait for ever.
   */
  readonly resume: (how: Resumption, answer?: string) => void;
  readonly emitDropped: (db: Database) => void;
}

/** How long the position waits for a moment in which what is committed can be told. */
const POSITION_PATIENCE_MS = 2000;
/** Held back while the node stops, or before it has begun. */
const UNCAPTURED = 'it was written when nothing was captured';
const LOST_LANE = '\0lost events';
const LOST_REST_MS = 1000;

export class MountEvents {
  readonly #parts: MountEventParts;

  constructor(parts: MountEventParts) {
    this.#parts = parts;
  }

  deferred(operation: DeferredOperation): void {
    const { resume, scheduler, follower, captures, isLent } = this.#parts;
    const db = this.#followed(() => this.#known(databaseOf(operation)));
    if (!db) {
      resume({ token: operation.token, errno: 0 }, formatPosition({ txid: 0, checksum: 0n }));
      return;
    }
    if (db.halt) {
      this.#deferredHalted(db, operation);
      return;
    }
    const end = () => {
      const shown = formatPosition(db.shown ?? db.position);
      resume(
        { token: operation.token, errno: 0 },
        operation.kind === 'open' ? `${shown}\n` : undefined,
      );
    };
    if (!captures()) {
      // On a replica; or we are about to stop, or have not begun: then every page is compared.
      if (operation.kind !== 'open') db.suspicion = UNCAPTURED;
      end();
    } else if (operation.kind === 'open' && isLent(db)) {
      // Nothing else is committed; and what is being committed may wait for the reader that asks.
      end();
    } else if (operation.kind === 'open') {
      const covered = () => follower.flushBriefly(db, POSITION_PATIENCE_MS);
      scheduler.add(ownLane(), covered, (error) => {
        end();
        throwBug(error);
      });
    } else {
      scheduler.add(
        db.name,
        () => this.#serve(db, operation),
        (error) => {
          end();
          if (error !== undefined) follower.failed(db, error);
        },
      );
    }
  }

  #deferredHalted(db: Database, operation: DeferredOperation): void {
    const { scheduler, halts, resume } = this.#parts;
    scheduler.add(
      laneOf(db),
      () => (db.halt ? halts.serve(db, operation) : tooLate(operation)),
      (error, how = { errno: errno.EIO }) => {
        resume({ ...how, token: operation.token }, `${formatPosition(db.position)}\n`);
        if (error !== undefined) throw error;
      },
    );
  }

  event(event: TreeEvent): void {
    const isFollowed = this.#followed(() => {
      this.#happened(event);
      return true;
    });
    if (isFollowed || !this.#parts.captures()) return;
    // Another file may have taken the name of a database, of which its -wal does not tell.
    const paths = event.kind === 'renamed' ? [event.path, event.newPath] : [event.path];
    for (const db of this.#parts.registry) {
      if (paths.some((path) => `${db.name}/`.startsWith(`${path}/`))) {
        db.suspicion = 'what happened to its name could not be followed';
      }
    }
  }

  #happened(event: TreeEvent): void {
    switch (event.kind) {
      case 'created':
        this.#created(event.path);
        break;
      case 'removed':
        this.#removed(event.path);
        break;
      case 'renamed':
        this.#removed(event.path);
        this.#arrived(event.newPath);
        if (this.#parts.ctx.tree.kind(event.path) === undefined) break;
        // RENAME_EXCHANGE: what had the new name has this one now.
        this.#removed(event.newPath);
        this.#arrived(event.path);
        break;
      case 'truncated':
        // Other sizes are writes as any other, of which inotify tells.
        if (event.size === 0) this.#replaced(event.path);
        break;
      case 'released':
        this.#released(event.path);
        break;
    }
  }

  *#serve(db: Database, operation: DeferredOperation): Task<void> {
    const { ctx, follower, captures } = this.#parts;
    if (!captures()) {
      // We are about to stop: the next start compares every page.
      db.suspicion = UNCAPTURED;
      return;
    }
    // What is half applied is no commit of its own.
    if (db.shown) return;
    const { companion } = fileRole(operation.path);
    if (companion === 'journal') {
      this.drainWrites();
      if (!follower.journalEnds(db)) return;
      try {
        const seen = follower.look(db);
        if ((yield* captureAtJournalEnd(ctx, db)) === 'done') seen();
        yield* verifyStrictly(ctx, db);
      } catch (error) {
        follower.failed(db, error);
      }
      return;
    }
    const held = heldOperation(operation, companion);
    // What a checkpoint has written is explained by the -wal while that is there.
    if (held) this.drainWrites();
    yield* follower.flush(db, held);
  }

  /** The database of that name, made known when its file is one. */
  #known(name: string): Database | undefined {
    const { registry, ctx } = this.#parts;
    const known = registry.get(name);
    if (known) return known;
    return isDatabaseFile(ctx.tree, name, throwIt) ? registry.open(name) : undefined;
  }

  #created(path: string): void {
    const { ctx, watcher, captures, obstacles } = this.#parts;
    const kind = ctx.tree.kind(path);
    const role = fileRole(path);
    if (role.companion && kind !== 'file') {
      const db = this.#known(role.database);
      if (db && captures()) this.#parts.follower.touched(db);
      else if (db) obstacles.look(db);
    }
    if (kind === 'directory') {
      const found = scanTree(ctx.tree, path, (dir) => watcher()?.watch(dir), throwIt);
      if (captures()) for (const name of found) this.#replaced(name);
      return;
    }
    if (!role.companion || role.companion === 'journal' || !captures()) return;
    const db = this.#known(role.database);
    if (!db) return;
    this.#parts.follower.touched(db);
  }

  /** Takes in what has been written until now, so that what is explained does not include what follows. */
  drainWrites(): void {
    const { follower } = this.#parts;
    const known = (name: string) => this.#known(name);
    // Of a database that is not known yet nothing was captured, and all is new.
    const captured = (name: string) => this.#parts.registry.get(name);
    const tell = (
      name: string,
      find: (name: string) => Database | undefined,
      what: (db: Database) => void,
    ) => {
      if (!this.#parts.captures()) return;
      const db = this.#followed(() => find(name));
      if (db) what(db);
    };
    this.#parts.watcher()?.drain({
      walWritten: (name) => tell(name, known, (db) => follower.walWritten(db)),
      shmTouched: (name) => tell(name, known, (db) => follower.touched(db)),
      fileWritten: (path) => tell(path, known, (db) => follower.fileWritten(db)),
      journalBegun: (name) => tell(name, captured, (db) => follower.journalBegun(db)),
      walMade: (name) => tell(name, captured, (db) => follower.walMade(db)),
      cutBegun: (name, mark) => tell(name, captured, (db) => follower.cutBegun(db, mark)),
      cutEnded: (name, mark) => tell(name, captured, (db) => follower.cutEnded(db, mark)),
      ownershipChanged: (path) => this.#followed(() => this.#ownershipChanged(path)),
      overflow: () => this.#lost('the kernel has dropped events'),
    });
  }

  #ownershipChanged(path: string): void {
    const { ctx, registry, captures } = this.#parts;
    if (!captures()) return;
    for (const db of registry) {
      const isBelow = path === '' || `${db.name}/`.startsWith(`${path}/`);
      if (isBelow && db.pageCount > 0) tellOwnership(ctx, db);
    }
  }

  /** What `follow` returns; undefined when it cannot be done now: then all is looked at later. Throws what is a bug. */
  #followed<T>(follow: () => T): T | undefined {
    try {
      return follow();
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
      this.#lost(errorText(error));
      return undefined;
    }
  }

  #lost(why: string): void {
    const { ctx, registry, scheduler, follower, captures } = this.#parts;
    if (!captures()) return;
    for (const db of registry) follower.eventsLost(db);
    // One that has begun may have passed what this is about.
    scheduler.leaveOff(LOST_LANE, new LiteFsError('WRONG_STATE', 'it begins again'));
    ctx.log('warn', `what happens in the mount cannot be followed: ${why}; all is looked at again`);
    scheduler.add(LOST_LANE, () => this.#findAll(), throwBug);
  }

  /** Directories and databases that are not known yet; again until nothing is left that cannot be told. */
  *#findAll(): Task<void> {
    const { ctx, registry, watcher, follower, captures } = this.#parts;
    for (let isSure = false; !isSure && captures(); ) {
      const unsure = (error: unknown) => {
        if (!isOutsideFault(error)) throw error;
        isSure = false;
      };
      isSure = true;
      const unwatched = new Set<string>();
      try {
        const watch = (dir: string) => {
          try {
            watcher()?.watch(dir);
          } catch (error) {
            unwatched.add(dir);
            unsure(error);
          }
        };
        const found = scanTree(ctx.tree, '', watch, unsure);
        for (const name of found) if (!registry.get(name)) this.#replaced(name);
        this.#ownershipChanged('');
      } catch (error) {
        unsure(error);
      }
      if (isSure) return;
      yield LOST_REST_MS;
      // Nothing else tells of what is in there.
      for (const db of registry) if (unwatched.has(parentOf(db.name))) follower.eventsLost(db);
    }
  }

  #arrived(path: string): void {
    this.#created(path);
    this.#replaced(path);
  }

  /** Another file took the place of a database. */
  #replaced(path: string): void {
    if (!this.#parts.captures() || fileRole(path).companion) return;
    const db = this.#known(path);
    if (!db) return;
    db.suspicion ??= 'another file may have taken its place';
    if (db.pageCount > 0) tellOwnership(this.#parts.ctx, db);
    this.#parts.follower.fileWritten(db);
  }

  /** sendfile, copy_file_range and mmap make no inotify event in the backing tree: with the close, the copy is whole. */
  #released(path: string): void {
    const { registry, captures, follower } = this.#parts;
    const db = registry.get(path);
    if (!db || db.pageCount === 0 || db.suspicion || db.status.state === 'degraded') {
      this.#replaced(path);
    } else if (captures()) {
      this.drainWrites();
      follower.released(db);
    }
  }

  #removed(path: string): void {
    const { ctx, registry, scheduler, captures, follower } = this.#parts;
    const role = fileRole(path);
    const db = registry.get(role.database);
    if (!db) {
      this.#directoryRemoved(path);
      return;
    }
    if (role.companion) {
      if (role.companion === 'shm') db.files.close('shm');
      return;
    }
    if (!captures()) return;
    scheduler.add(
      db.name,
      () =>
        asTask(() => {
          db.files.closeReplaced();
          if (db.files.exists('db')) {
            this.#replaced(db.name);
            return;
          }
          db.forgetWal();
          db.suspicion = undefined;
          follower.forget(db);
          db.files.close();
          if (db.pageCount > 0) writeDrop(ctx, db);
        }),
      (error) => {
        if (error !== undefined) follower.failed(db, error);
        // One in quarantine keeps its place, whatever was put there meanwhile.
        if (db.pageCount === 0 && db.aside === undefined) this.#parts.emitDropped(db);
      },
    );
  }

  /** A directory went elsewhere with all that was in it. */
  #directoryRemoved(path: string): void {
    const prefix = `${path}/`;
    for (const db of this.#parts.registry) if (db.name.startsWith(prefix)) this.#removed(db.name);
  }
}

function throwIt(error: unknown): never {
  throw error;
}

/** What of the -wal an operation ends; undefined for any other. */
function heldOperation(
  { kind, size }: DeferredOperation,
  companion: 'wal' | 'shm' | 'journal' | undefined,
): HeldOperation | undefined {
  if (companion === 'shm') return kind === 'unlink' ? 'remove-shm' : undefined;
  if (companion !== 'wal') return undefined;
  if (kind === 'unlink') return 'remove-wal';
  if (kind === 'fsync') return 'header-sync';
  return kind === 'truncate' && size === 0 ? 'truncate' : undefined;
}

/** The halt lock was given back while the operation waited for its turn. */
// biome-ignore lint/correctness/useYield: a task that need not wait
function* tooLate({ kind }: DeferredOperation): Task<Omit<Resumption, 'token'>> {
  return { errno: kind === 'open' ? 0 : errno.EIO };
}

function databaseOf(operation: DeferredOperation): string {
  if (operation.kind === 'open') return operation.path.slice(0, -POSITION_SUFFIX.length);
  return fileRole(operation.path).database;
}
