/**
 * What is done now and then beside the work: logs flushed to disk, closed, merged and trimmed; page checksums
 * saved, so that the next start has little to catch up on. What the disk refuses is said once and tried again when it
 * is due the next time: nothing that is committed depends on it.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { errorText, isOutsideFault } from '../errors.ts';
import { compact } from '../ltx/compact.ts';
import { fileSink, fileSource } from '../ltx/sources.ts';
import type { CompactionJob } from '../store/log-merge.ts';
import type { EngineContext } from './core/context.ts';
import type { Database } from './core/database.ts';
import type { Registry } from './core/registry.ts';
import { saveState, syncPages } from './core/saved-state.ts';
import type { EngineOptions, Pinner } from './protocol.ts';
import type { Scheduler, Task } from './tasks/scheduler.ts';

const SYNC_MS = 1000;
/** A segment that grows slowly is closed after this time, so that it can be merged and trimmed. */
const SEGMENT_AGE_MS_MAX = 10_000;
const SUMS_SAVE_MS = 30_000;
/** A merge is worth it from this many entries on, and makes files up to this size. */
const COMPACT_ENTRIES_MIN = 64;
const COMPACT_ENTRIES_MAX = 4096;
const COMPACT_BYTES_MAX = 64 << 20;
const COMPACT_LANE = '\0compact';
const MERGING = 'merging the log';

export class Maintenance {
  readonly #ctx: EngineContext;
  readonly #registry: Registry;
  readonly #scheduler: Scheduler;
  readonly #options: EngineOptions;
  #nextSyncMs = 0;
  #nextTrimMs = 0;
  #nextSumsMs: number;
  readonly #pinned = new Map<Pinner, ReadonlyMap<string, number>>();
  #compacting = false;
  /** What has failed when it was last due, by database: it is not said again. */
  readonly #failing = new Set<string>();

  constructor(
    ctx: EngineContext,
    registry: Registry,
    scheduler: Scheduler,
    options: EngineOptions,
  ) {
    this.#ctx = ctx;
    this.#registry = registry;
    this.#scheduler = scheduler;
    this.#options = options;
    this.#nextSumsMs = ctx.clockMs() + SUMS_SAVE_MS;
    this.#nextTrimMs = ctx.clockMs() + options.retentionCheckMs;
  }

  /** What follows these transactions is still needed. */
  pin(by: Pinner, txids: ReadonlyMap<string, number>): void {
    this.#pinned.set(by, txids);
  }

  /** Does what is due. */
  poll(): void {
    const now = this.#ctx.clockMs();
    if (now >= this.#nextSyncMs) {
      this.#nextSyncMs = now + SYNC_MS;
      this.#syncLogs(now);
    }
    if (now >= this.#nextSumsMs) {
      this.#nextSumsMs = now + SUMS_SAVE_MS;
      this.#saveSums();
    }
    if (now >= this.#nextTrimMs) {
      this.#nextTrimMs = now + this.#options.retentionCheckMs;
      this.#trim();
      this.#compactNext();
    }
  }

  /** ms until something is due; undefined when nothing has happened that would need it. */
  nextInMs(): number | undefined {
    const now = this.#ctx.clockMs();
    let unsynced = false;
    let unsaved = false;
    for (const db of this.#registry) {
      unsynced ||= db.log.isOpen || db.log.isUnsynced;
      unsaved ||= db.sums.dirtyBlocks > 0;
    }
    const waits = [this.#nextTrimMs - now];
    if (unsynced) waits.push(this.#nextSyncMs - now);
    if (unsaved) waits.push(this.#nextSumsMs - now);
    return Math.max(0, Math.min(...waits));
  }

  /** Ends when no merge is under way. */
  *drained(): Task<void> {
    while (this.#compacting) yield 1;
  }

  /** Does something for each database; a disk that fails must not keep it from the others. */
  #each(what: string, step: (db: Database) => void): void {
    for (const db of this.#registry) {
      try {
        step(db);
        this.#failing.delete(`${what} ${db.name}`);
      } catch (error) {
        this.#failed(what, db, error);
      }
    }
  }

  /** Throws again what is a bug. */
  #failed(what: string, db: Database, error: unknown): void {
    if (!isOutsideFault(error)) throw error;
    const key = `${what} ${db.name}`;
    if (this.#failing.has(key)) return;
    this.#failing.add(key);
    const text = `${db.name}: ${what} failed: ${errorText(error)}; it is tried again`;
    this.#ctx.log('warn', text, { database: db.name });
  }

  #syncLogs(now: number): void {
    this.#each('flushing the log', (db) => {
      db.log.sync();
      db.log.sealIfOlder(now, SEGMENT_AGE_MS_MAX);
    });
  }

  #saveSums(): void {
    this.#each('saving the page checksums', (db) => this.#saveSumsOf(db));
  }

  #saveSumsOf(db: Database): void {
    if (db.sums.dirtyBlocks === 0 || db.pageCount === 0) return;
    saveState(db);
  }

  #trim(): void {
    const before = this.#ctx.wallClockMs() - this.#options.retentionMs;
    this.#each('trimming the log', (db) => {
      db.log.sealIfOlder(this.#ctx.clockMs(), this.#options.retentionMs);
      if (db.log.first && db.log.first.timestampMs < before) this.#saveSumsOf(db);
      // Never what a start after a power failure would need, whatever its age.
      const pins = [...this.#pinned.values()].map((txids) => txids.get(db.name) ?? Infinity);
      const needed = Math.min(...pins, db.sumsSavedTxid);
      db.log.trim(before, needed, this.#options.logBytesMax, db.sumsSavedTxid, () => {
        // A primary's applications see to what is in their files.
        if (this.#options.role === 'replica') syncPages(db);
      });
    });
  }

  /** One merge at a time; when it is done, the next. `failed`: those for which it has failed this time. */
  #compactNext(failed = new Set<Database>()): void {
    if (this.#compacting || this.#ctx.isDetached()) return;
    for (const db of this.#registry) {
      if (failed.has(db)) continue;
      const job = db.log.compactionJob(COMPACT_ENTRIES_MIN, COMPACT_ENTRIES_MAX, COMPACT_BYTES_MAX);
      if (!job) continue;
      this.#compacting = true;
      this.#scheduler.add(
        COMPACT_LANE,
        () => this.#compact(db, job),
        (error) => {
          this.#compacting = false;
          if (error === undefined) {
            this.#failing.delete(`${MERGING} ${db.name}`);
          } else {
            this.#failed(MERGING, db, error);
            failed.add(db);
          }
          this.#compactNext(failed);
        },
      );
      return;
    }
  }

  *#compact(db: Database, job: CompactionJob): Task<void> {
    const file = path.join(this.#ctx.layout.spool, `compact-${randomUUID()}`);
    const fds = new Map<string, number>();
    const out = fs.openSync(file, 'wx', 0o600);
    try {
      const sources = job.entries.map((entry) => {
        let fd = fds.get(entry.path);
        if (fd === undefined) {
          fd = fs.openSync(entry.path, 'r');
          fds.set(entry.path, fd);
        }
        return fileSource(fd, entry.offset, entry.length);
      });
      const sink = fileSink(out);
      yield* compact(sources, sink, { compress: true });
      sink.flush();
      fs.fdatasyncSync(out);
      db.log.replace(job, file);
    } catch (error) {
      fs.rmSync(file, { force: true });
      throw error;
    } finally {
      fs.closeSync(out);
      for (const fd of fds.values()) fs.closeSync(fd);
    }
  }
}
