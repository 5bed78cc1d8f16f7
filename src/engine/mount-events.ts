/**
 * What the mount tells the engine: operations that it holds back until we have captured, and things that
 * have happened. An operation is always let go on in the end, whatever became of the capture.
 */
import type { DeferredOperation, Resumption, TreeEvent } from '../fuse/policy.ts';
import { formatPosition } from '../ltx/position.ts';
import { fileRole, POSITION_SUFFIX } from '../mount/names.ts';
import { errno } from '../os/libc.ts';
import { captureAtJournalEnd } from './capture.ts';
import type { HeldOperation } from './capture-wal.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import type { Follower } from './follower.ts';
import { type HaltBorrower, laneOf } from './halt/borrower.ts';
import type { Obstacles } from './obstacles.ts';
import type { Registry } from './registry.ts';
import { asTask, type Scheduler, type Task } from './scheduler.ts';
import { writeDrop } from './transaction-writer.ts';
import { isDatabaseFile, scanTree } from './tree-scan.ts';
import { verifyStrictly } from './verify.ts';
import type { TreeWatcher } from './watcher.ts';

export interface MountEventParts {
  readonly ctx: EngineContext;
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  readonly follower: Follower;
  readonly watcher: () => TreeWatcher | undefined;
  /** Whether changes are captured: on a primary, while attached. */
  readonly captures: () => boolean;
  readonly halts: HaltBorrower;
  readonly obstacles: Obstacles;
  /**
   * Lets a held operation go on; `answer` is the content of the virtual file that is opened. Throws FUSE_UNAVAILABLE when
   * the mount is not to be reached: the application would wait for ever.
   */
  readonly resume: (how: Resumption, answer?: string) => void;
  readonly emitDropped: (db: Database) => void;
}

export class MountEvents {
  readonly #parts: MountEventParts;

  constructor(parts: MountEventParts) {
    this.#parts = parts;
  }

  deferred(operation: DeferredOperation): void {
    const { resume } = this.#parts;
    const name = databaseOf(operation);
    const db = this.#known(name);
    if (!db) {
      resume({ token: operation.token, errno: 0 }, formatPosition({ txid: 0, checksum: 0n }));
      return;
    }
    if (db.halt) {
      this.#deferredHalted(db, operation);
      return;
    }
    this.#parts.scheduler.add(
      db.name,
      () => this.#serve(db, operation),
      (error) => {
        const shown = formatPosition(db.shown ?? db.position);
        const answer = operation.kind === 'open' ? `${shown}\n` : undefined;
        resume({ token: operation.token, errno: 0 }, answer);
        if (error !== undefined) this.#parts.follower.failed(db, error);
      },
      // What rests may wait for the lock of the application that waits here.
      true,
    );
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
    switch (event.kind) {
      case 'created':
        this.#created(event.path);
        break;
      case 'removed':
        this.#removed(event.path);
        break;
      case 'renamed':
        this.#removed(event.path);
        this.#created(event.newPath);
        this.#replaced(event.newPath);
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
      if (operation.kind !== 'open') db.suspect = true;
      return;
    }
    // What is half applied is no commit of its own.
    if (db.shown) return;
    const { companion } = fileRole(operation.path);
    if (operation.kind !== 'open' && companion === 'journal') {
      this.drainWrites();
      follower.journalEnds(db);
      try {
        yield* captureAtJournalEnd(ctx, db);
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
    return registry.get(name) ?? (isDatabaseFile(ctx.tree, name) ? registry.open(name) : undefined);
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
      const found = scanTree(ctx.tree, path, (dir) => watcher()?.watch(dir));
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
    this.#parts.watcher()?.drain({
      walWritten: (name) => {
        const db = this.#touched(name);
        if (db) this.#parts.follower.walWritten(db);
      },
      shmTouched: (name) => {
        const db = this.#touched(name);
        if (db) this.#parts.follower.touched(db);
      },
      fileWritten: (path) => this.#fileWritten(path),
      journalBegun: (name) => {
        const db = this.#captured(name);
        if (db) this.#parts.follower.journalBegun(db);
      },
      walMade: (name) => {
        const db = this.#captured(name);
        if (db) this.#parts.follower.walMade(db);
      },
      cutBegun: (name, mark) => {
        const db = this.#captured(name);
        if (db) this.#parts.follower.cutBegun(db, mark);
      },
      cutEnded: (name, mark) => {
        const db = this.#captured(name);
        if (db) this.#parts.follower.cutEnded(db, mark);
      },
      overflow: () => this.#eventsLost(),
    });
  }

  /** The kernel has dropped events: also the first one of a database that is not known yet. */
  #eventsLost(): void {
    const { ctx, registry, follower, captures } = this.#parts;
    if (!captures()) return;
    for (const name of scanTree(ctx.tree)) registry.open(name);
    for (const db of registry) follower.eventsLost(db);
  }

  /** A file at this path was written, says inotify. */
  #fileWritten(path: string): void {
    if (!this.#parts.captures()) return;
    const db = this.#known(path);
    if (db) this.#parts.follower.fileWritten(db);
  }

  #touched(name: string): Database | undefined {
    return this.#parts.captures() ? this.#known(name) : undefined;
  }

  /** Of a database that is not known yet nothing was captured, and all is new. */
  #captured(name: string): Database | undefined {
    return this.#parts.captures() ? this.#parts.registry.get(name) : undefined;
  }

  /** Another file took the place of a database. */
  #replaced(path: string): void {
    if (!this.#parts.captures() || fileRole(path).companion) return;
    const db = this.#known(path);
    if (!db) return;
    db.suspect = true;
    this.#parts.follower.fileWritten(db);
  }

  /** sendfile and copy_file_range make no inotify event in the backing tree: with the close, the copy is whole. */
  #released(path: string): void {
    const db = this.#parts.registry.get(path);
    const unknown = !db || db.pageCount === 0 || db.suspect || db.status.state === 'degraded';
    if (unknown) this.#replaced(path);
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
          db.suspect = false;
          follower.forget(db);
          db.files.close();
          if (db.pageCount > 0) writeDrop(ctx, db);
        }),
      (error) => {
        if (error !== undefined) follower.failed(db, error);
        if (db.pageCount === 0) this.#parts.emitDropped(db);
      },
    );
  }

  /** A directory went elsewhere with all that was in it. */
  #directoryRemoved(path: string): void {
    const prefix = `${path}/`;
    for (const db of this.#parts.registry) if (db.name.startsWith(prefix)) this.#removed(db.name);
  }
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
