/** Keeps the archive of one database: snapshots of it, and what was committed between them. */
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { formatPosition, type Position, samePosition } from '../ltx/position.ts';
import { nameText } from '../store/layout.ts';
import type { LtxSource } from '../store/log-entry.ts';
import { type ArchiveFile, SNAPSHOT_LEVEL } from './archive-file.ts';
import type { CheckLevel } from './image.ts';
import type { LogPins } from './log-pins.ts';
import type { KeepRules } from './retention.ts';
import type { SnapshotSource, SourceCut } from './source.ts';
import type { RunTask } from './thread.ts';
import type { ListedFile } from './verified.ts';

export interface KeeperOptions {
  /** How far apart increments are; 0: there are none, but those that are asked for. */
  readonly incrementsMs: number;
  readonly check: CheckLevel;
  readonly keep: KeepRules;
  readonly timezone: string | undefined;
  readonly compress: boolean;
  /** Bytes per second that a snapshot may read; 0 for no limit. */
  readonly rateMax: number;
  /** A local folder for files that are checked. */
  readonly scratchDir: string;
}

export interface KeeperParts {
  readonly source: SnapshotSource;
  readonly run: RunTask;
  readonly options: KeeperOptions;
  readonly pins: LogPins;
  readonly clock: { wallMs(): number; monotonicMs(): number };
  readonly sleep: (ms: number) => Promise<void>;
  readonly log: Logger;
}

interface SnapshotCut {
  readonly file: ArchiveFile;
  readonly position: Position;
}

const READ_BYTES = 32 << 20;
const PAGES_BYTES = 1 << 20;
/** How often the end of a snapshot reads the log anew, when that was merged or trimmed just then. */
const FINISH_TRIES = 5;
/** Of a file's name, less what is appended. */
const FORMER_NAME_BYTES_MAX = 230;

export class DatabaseKeeper {
  readonly database: string;
  readonly #archive: string;
  readonly #parts: KeeperParts;
  /** Up to here the log is in the archive; undefined before it was looked at. */
  #archived: Position | undefined;
  /** The newest snapshot, and its position if we have cut it. */
  #snapshot: { file: ArchiveFile; position: Position | undefined } | undefined;
  /** The newest file: another than the newest snapshot, mostly. */
  #newest: ArchiveFile | undefined;
  #opened = false;
  /** The newest files of the archive were damaged: a snapshot is to be cut. */
  #isDamaged = false;
  #isAbandoned = false;
  /** Everything that is done to the archive, one after the other. */
  #queue: Promise<unknown> = Promise.resolve();

  /** `archive`: its folder. */
  constructor(database: string, archive: string, parts: KeeperParts) {
    this.database = database;
    this.#archive = archive;
    this.#parts = parts;
  }

  /** As messages have it. */
  get #name(): string {
    return nameText(this.database);
  }

  /** Gives up a snapshot that is being cut now: the node stops. */
  abandon(): void {
    this.#isAbandoned = true;
  }

  /** The archive is another than before: it is looked at anew. */
  forget(): void {
    this.#opened = false;
  }

  /** The newest snapshot, as far as is known. */
  get newestSnapshot(): ArchiveFile | undefined {
    return this.#snapshot?.file;
  }

  /** Up to here the archive has what the log had; undefined before it was looked at. */
  get archivedTxid(): number | undefined {
    return this.#archived?.txid;
  }

  /**
   * Brings the archive up to what the log has now, also of a database that was dropped since; cuts a snapshot when there
   * is none, or the log lacks the rest.
   */
  increment(): Promise<void> {
    return this.#enqueue(async () => {
      try {
        await this.#open();
        const exists = this.#parts.source.positions().has(this.database);
        const isWhole = this.#snapshot && this.#archived && !this.#isDamaged;
        if (!isWhole && exists) await this.#cut();
        if (this.#snapshot && this.#archived) await this.#follow();
      } finally {
        // Of one that was asked for no other follows: the log need not wait for it.
        const { options, pins } = this.#parts;
        const needed = options.incrementsMs > 0 ? this.#archived?.txid : undefined;
        pins.set(this.database, 'archive', needed);
      }
    });
  }

  /** A snapshot of the present state. Resolves with undefined when the newest one is that already. */
  snapshot(): Promise<ArchiveFile | undefined> {
    return this.#enqueue(async () => {
      await this.#open();
      const position = this.#position();
      const newest = this.#snapshot?.position;
      if (newest && samePosition(newest, position)) return undefined;
      return this.#cut();
    });
  }

  /**
   * Merges increments and removes what need not be kept. Resolves with what was found to be damaged; the newest snapshot is
   * cut anew then.
   */
  tidy(): Promise<readonly string[]> {
    const { options, clock, run } = this.#parts;
    const { keep, timezone, compress } = options;
    return this.#enqueue(async () => {
      const rules = { keep, nowMs: clock.wallMs(), timezone, compress };
      const { damaged } = await run('tidy', { archive: this.#archive, ...rules });
      const newest = this.#snapshot?.file;
      const isNewestDamaged = damaged.some(
        ({ file }) => file.level === SNAPSHOT_LEVEL && file.maxTxid === newest?.maxTxid,
      );
      if (isNewestDamaged) await this.#cut();
      return damaged.map(({ message }) => message);
    });
  }

  list(): Promise<readonly ListedFile[]> {
    return this.#parts.run('list', { archive: this.#archive });
  }

  #enqueue<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(job);
    this.#queue = result.catch(() => {});
    return result;
  }

  /** Throws DATABASE_NOT_FOUND. */
  #position(): Position {
    const position = this.#parts.source.positions().get(this.database);
    if (position) return position;
    throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${this.#name} here`);
  }

  /** Looks at the archive, unless it is as it was left: somebody may have emptied it meanwhile. */
  async #open(): Promise<void> {
    const { run, log } = this.#parts;
    const archive = this.#archive;
    const known = [this.#snapshot?.file, this.#newest].filter((file) => file !== undefined);
    if (this.#opened && (await run('has', { archive, files: known }))) return;
    const { files, position, damaged } = await run('open', { archive });
    for (const text of damaged) {
      log.error({ database: this.database }, `${this.#name}: ${text}; a snapshot is cut anew`);
    }
    const file = files.findLast(({ level }) => level === SNAPSHOT_LEVEL);
    if (this.#opened && (this.#archived?.txid ?? 0) > (position?.txid ?? 0)) {
      const from = position ? `from ${formatPosition(position)}` : 'with a new snapshot';
      log.warn(
        { database: this.database },
        `${this.#name}: files are gone from the archive, which goes on ${from}`,
      );
    }
    const isNewest = file !== undefined && file.maxTxid === position?.txid;
    this.#snapshot = file && { file, position: isNewest ? position : undefined };
    this.#newest = files.at(-1);
    this.#archived = position;
    this.#isDamaged = damaged.length > 0;
    this.#opened = true;
  }

  /** Entries after what is archived, as level 0. */
  async #follow(): Promise<void> {
    const { source, run, options } = this.#parts;
    while (this.#archived) {
      const read = await source.readLog(this.database, this.#archived, READ_BYTES);
      if (read.kind === 'unavailable') {
        await this.#resume(read.reason);
        return;
      }
      if (read.entries.length === 0) return;
      const last = read.entries[read.entries.length - 1].post;
      const { entries, transfer } = owned(read.entries.map((entry) => entry.source));
      const args = { archive: this.#archive, entries, compress: options.compress };
      this.#newest = (await run('increment', args, transfer)).at(-1);
      this.#archived = last;
    }
  }

  /** The log has not what follows the archive: from the newest snapshot, if that goes on; else from a new one. */
  async #resume(reason: string): Promise<void> {
    const newest = this.#snapshot?.position;
    const from = this.#archived ? formatPosition(this.#archived) : 'the beginning';
    const tell = (how: string) =>
      this.#parts.log.warn(
        { database: this.database },
        `${this.#name}: transactions after ${from} are not in the archive (${reason}); ${how}`,
      );
    if (newest && this.#archived && newest.txid > this.#archived.txid) {
      tell(`it goes on from the snapshot at ${formatPosition(newest)}`);
      this.#archived = newest;
      return this.#follow();
    }
    const isGone = !this.#parts.source.positions().has(this.database);
    tell(isGone ? 'the database was dropped' : 'a snapshot goes on from here');
    if (isGone) {
      this.#archived = undefined;
      return;
    }
    await this.#retireIfForeign(this.#position());
    await this.#cut();
    // What is between is lost.
    this.#archived = this.#snapshot?.position;
  }

  async #cut(): Promise<ArchiveFile> {
    const { source, run, options, pins, clock, log } = this.#parts;
    const startedMs = clock.monotonicMs();
    const cut = await source.cutPages(this.database, undefined);
    let snapshot: number | undefined;
    try {
      const { position, pageSize, pageCount } = cut;
      pins.set(this.database, 'cut', position.txid);
      await this.#retireIfForeign(position);
      if (pageCount === 0) {
        throw new LiteFsError('DATABASE_NOT_FOUND', `${this.#name} has no content yet`);
      }
      const base = {
        position,
        pageSize,
        pageCount,
        timestampMs: (await this.#committedMs(position)) ?? clock.wallMs(),
        compress: options.compress,
      };
      snapshot = await run('begin', { archive: this.#archive, base });
      await this.#pump(cut, snapshot);
      const done = await this.#finish(snapshot, position, cut.end ?? position);
      this.#snapshot = done;
      this.#isDamaged = false;
      const { file, position: end } = done;
      // States between what was archived and this snapshot are of use too, if the log has them.
      this.#archived ??= end;
      const seconds = Math.round(clock.monotonicMs() - startedMs) / 1000;
      log.info(
        { database: this.database, bytes: file.bytes, seconds, txid: file.maxTxid },
        `snapshot of ${this.#name} at ${formatPosition(end)}`,
      );
      return file;
    } catch (error) {
      if (snapshot !== undefined) await run('abort', { snapshot });
      throw error;
    } finally {
      pins.set(this.database, 'cut', undefined);
      cut.close();
    }
  }

  /**
   * When the last transaction was, by the increment that ends with it: a snapshot of an idle database is the state of that
   * time, and is found by it once the increment is gone. undefined without one.
   */
  async #committedMs({ txid }: Position): Promise<number | undefined> {
    if (this.#archived?.txid !== txid) return undefined;
    const files = await this.list();
    const own = files.filter(
      ({ level, maxTxid, isTimeDoubtful }) =>
        level !== SNAPSHOT_LEVEL && maxTxid === txid && !isTimeDoubtful,
    );
    return own[0]?.timestampMs;
  }

  async #pump(cut: SourceCut, snapshot: number): Promise<void> {
    const { run, options, clock, sleep } = this.#parts;
    const startedMs = clock.monotonicMs();
    // One is filled while the other is written out.
    const buffers = [new SharedArrayBuffer(PAGES_BYTES), new SharedArrayBuffer(PAGES_BYTES)];
    let bytes = 0;
    let written: Promise<unknown> = Promise.resolve();
    this.#isAbandoned = false;
    for (let turn = 0; ; turn++) {
      if (this.#isAbandoned) throw new LiteFsError('WRONG_STATE', 'the node is stopping');
      const into = buffers[turn % buffers.length];
      const length = await cut.nextInto(into);
      await written;
      if (length === 0) return;
      bytes += length;
      written = run('pages', { snapshot, records: new Uint8Array(into, 0, length) });
      written.catch(() => {});
      if (options.rateMax === 0) continue;
      const dueMs = startedMs + (bytes / options.rateMax) * 1000;
      await sleep(Math.max(0, dueMs - clock.monotonicMs()));
    }
  }

  async #finish(snapshot: number, from: Position, end: Position): Promise<SnapshotCut> {
    const { run, options, clock } = this.#parts;
    for (let tries = 1; ; tries++) {
      const { sources, post } = await this.#entriesBetween(from, end);
      const { entries, transfer } = owned(sources);
      const { check, scratchDir } = options;
      try {
        const nowMs = clock.wallMs();
        const args = { snapshot, entries, end: post, check, scratchDir, nowMs };
        const { file, unchecked } = await run('finish', args, transfer);
        if (unchecked !== undefined) this.#tellUnchecked(unchecked);
        return { file, position: post };
      } catch (error) {
        const isMoved = error instanceof LiteFsError && error.code === 'WRONG_STATE';
        if (!isMoved || tries === FINISH_TRIES) throw error;
      }
    }
  }

  /** Collations, functions and tokenizers are the application's: the next snapshot is no better. */
  #tellUnchecked(reason: string): void {
    this.#parts.log.warn(
      { database: this.database },
      `${this.#name}: PRAGMA integrity_check can check only a part of its snapshot (${reason}); its checksums are right`,
    );
  }

  /** What leads from one position to another, or behind it, where the log was merged over it. */
  async #entriesBetween(
    from: Position,
    end: Position,
  ): Promise<{ sources: LtxSource[]; post: Position }> {
    const sources: LtxSource[] = [];
    let post = from;
    while (post.txid < end.txid) {
      const read = await this.#parts.source.readLog(this.database, post, READ_BYTES);
      if (read.kind === 'unavailable' || read.entries.length === 0) {
        const reason = read.kind === 'unavailable' ? read.reason : 'it ends too early';
        throw new LiteFsError(
          'DATABASE_BUSY',
          `${this.#name}: the log lost its end during a snapshot: ${reason}`,
        );
      }
      for (const entry of read.entries) {
        if (post.txid >= end.txid) break;
        sources.push(entry.source);
        post = entry.post;
      }
    }
    return { sources, post };
  }

  /**
   * An archive that is ahead of the database, or has another content, is of a former life of it: it is kept aside. Its
   * newest file may be a snapshot that increments have not reached yet.
   */
  async #retireIfForeign(position: Position): Promise<void> {
    const newest = this.#snapshot?.position;
    const isAhead = newest && newest.txid > (this.#archived?.txid ?? 0);
    const archived = isAhead ? newest : this.#archived;
    if (!archived) return;
    const isForeign =
      archived.txid > position.txid ||
      (archived.txid === position.txid && archived.checksum !== position.checksum);
    if (!isForeign) return;
    const { run, clock, log } = this.#parts;
    const stamp = new Date(clock.wallMs()).toISOString().replace(/[-:]|\.\d+/g, '');
    const { dir, base } = path.parse(this.#archive);
    const to = path.join(dir, `${base.slice(0, FORMER_NAME_BYTES_MAX)}.until-${stamp}`);
    await run('retire', { archive: this.#archive, to });
    this.#archived = undefined;
    this.#snapshot = undefined;
    this.#newest = undefined;
    log.warn(
      { database: this.database, to },
      `${this.#name}: the archive reached ${formatPosition(archived)}, which this database never had; ` +
        `it is kept as ${to}`,
    );
  }
}

/** Copies of what is in memory, which can be given away. */
function owned(sources: readonly LtxSource[]): {
  entries: LtxSource[];
  transfer: ArrayBuffer[];
} {
  const transfer: ArrayBuffer[] = [];
  const entries = sources.map((source) => {
    if (!('bytes' in source)) return source;
    const bytes = new Uint8Array(source.bytes);
    transfer.push(bytes.buffer);
    return { bytes };
  });
  return { entries, transfer };
}
