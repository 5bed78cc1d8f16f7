/** Keeps the archives of a node: increments as databases change, snapshots on a schedule, and what becomes of old ones. */
import { randomUUID } from 'node:crypto';
import { isOutsideFault, LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { nameMatcher } from '../patterns.ts';
import { nameText } from '../store/layout.ts';
import { archiveOf } from './archive.ts';
import type { ArchiveFile } from './archive-file.ts';
import { Backoff } from './backoff.ts';
import { DatabaseKeeper, type KeeperOptions, type KeeperParts } from './database-keeper.ts';
import { runHook } from './hook.ts';
import { LogPins } from './log-pins.ts';
import { nextTimes, Schedule } from './schedule.ts';
import { ServedTimes } from './served-times.ts';
import { Troubles, type Work } from './troubles.ts';
import type { ListedFile } from './verified.ts';
import type { Writer } from './writer.ts';

export interface SnapshotKeeperOptions extends KeeperOptions {
  readonly dir: string;
  /** The file that knows the ids of such directories. */
  readonly placesFile: string;
  /** This node; asked when something is written. */
  readonly writer: () => Omit<Writer, 'run'>;
  readonly schedule: readonly string[];
  readonly databases: readonly string[] | undefined;
  /** Where it is kept until when the schedule was served. */
  readonly runFile: string;
  readonly pre: string | undefined;
  readonly post: string | undefined;
  /** How long either may take. */
  readonly hookMsMax: number;
}

/** How a scheduled run, or one that was asked for, ended. */
export interface RunReport {
  readonly startedAtMs: number;
  readonly seconds: number;
  readonly ok: boolean;
  /** Databases of which a snapshot was cut. */
  readonly snapshots: readonly { readonly database: string; readonly file: ArchiveFile }[];
  /** Databases that have not changed since their newest snapshot. */
  readonly unchanged: readonly string[];
  readonly errors: readonly string[];
}

const TIDY_MS = 5 * 60_000;

export class SnapshotKeeper {
  readonly #options: SnapshotKeeperOptions;
  readonly #parts: KeeperParts;
  readonly #log: Logger;
  readonly #isWanted: (database: string) => boolean;
  readonly #keepers = new Map<string, DatabaseKeeper>();
  /** Databases with something to write, and the timer that will. */
  readonly #due = new Map<string, NodeJS.Timeout>();
  /** Databases whose archive has grown since it was tidied. */
  readonly #grown = new Set<string>();
  readonly #troubles: Troubles;
  readonly #backoff: Backoff;
  /** Of these the scheduled run that was last has cut none. */
  #unfinished: ReadonlySet<string> = new Set();
  readonly #served: ServedTimes;
  #schedule: Schedule | undefined;
  #tidyTimer: NodeJS.Timeout | undefined;
  #stopListening: (() => void) | undefined;
  /** What was found to be damaged when archives were last tidied, by database. */
  readonly #damaged = new Map<string, readonly string[]>();
  /** The run that goes on, or the last one. */
  #running: Promise<unknown> = Promise.resolve();
  #isScheduledRunning = false;
  /** The command post was told that increments fail. */
  #isOutageTold = false;
  /** The id of the directory in which the archives were last. */
  #place: string | undefined;
  readonly #run = randomUUID();
  #closed = false;
  readonly #over = new AbortController();
  lastRun: RunReport | undefined;
  /** When the newest run without an error ended, ms since 1970. */
  lastSuccessMs: number | undefined;

  constructor(options: SnapshotKeeperOptions, parts: Omit<KeeperParts, 'options' | 'pins'>) {
    this.#options = options;
    this.#parts = { ...parts, options, pins: new LogPins(parts.source) };
    this.#log = parts.log;
    this.#troubles = new Troubles(parts.log);
    this.#backoff = new Backoff(options.incrementsMs);
    this.#served = new ServedTimes(options, () => parts.clock.wallMs());
    this.#isWanted = nameMatcher(options.databases);
  }

  /** Begins. A directory that is not there, or cannot be written, is a warning, and tried again. */
  start(): void {
    const { source } = this.#parts;
    const { schedule, timezone, incrementsMs } = this.#options;
    this.#schedule = new Schedule(schedule, timezone, () => {
      if (this.#served.isNow()) void this.#scheduled();
    });
    this.#schedule.start();
    this.#tidyTimer = setInterval(() => void this.#housekeep(), TIDY_MS).unref();
    if (incrementsMs > 0) {
      this.#stopListening = source.onEntry(({ database }) => this.#mark(database));
      for (const database of source.positions().keys()) this.#mark(database);
    }
    void this.#catchUp();
  }

  /** Writes the increments that are due, and ends. A snapshot that is being cut is given up. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#over.abort();
    for (const keeper of this.#keepers.values()) keeper.abandon();
    this.#schedule?.close();
    clearInterval(this.#tidyTimer);
    this.#stopListening?.();
    const due = [...this.#due];
    this.#due.clear();
    for (const [database, timer] of due) {
      clearTimeout(timer);
      await this.#increment(database);
    }
    if (this.#place === undefined) return;
    const { dir } = this.#options;
    const leave = { dir, writer: this.#writer(), nowMs: this.#parts.clock.wallMs() };
    await this.#attempt('snapshots', '', async () => void (await this.#parts.run('leave', leave)));
  }

  /** What an administrator should know. */
  warnings(): string[] {
    const damaged = [...this.#damaged].flatMap(([database, texts]) =>
      texts.map((text) => `snapshots of ${nameText(database)}: ${text}`),
    );
    return [...this.#troubles.warnings(), ...damaged];
  }

  /** The next time at which the schedule fires. */
  get nextRun(): Date | undefined {
    return nextTimes(this.#options.schedule, this.#options.timezone, 1)[0];
  }

  /** Files of each database, oldest first. Rejects with DISK. */
  async list(): Promise<Map<string, readonly ListedFile[]>> {
    const lists = new Map<string, readonly ListedFile[]>();
    for (const database of this.#wanted()) {
      lists.set(database, await this.#keeper(database).list());
    }
    return lists;
  }

  /** Cuts snapshots now: of one database, or of all. One that runs already is waited for first. */
  async snapshot(database?: string): Promise<RunReport> {
    return this.#inTurn(() => {
      if (database !== undefined && !this.#parts.source.positions().has(database)) {
        throw new LiteFsError(
          'DATABASE_NOT_FOUND',
          `there is no database ${nameText(database)} here`,
        );
      }
      return this.#cutAll(database === undefined ? this.#wanted() : [database]);
    });
  }

  #inTurn(work: () => Promise<RunReport>): Promise<RunReport> {
    const run = this.#running.then(work);
    this.#running = run.catch(() => {});
    return run;
  }

  /**
   * Archives what was committed until now, whatever `increments` says: the state after it can be restored. Resolves with its
   * TXID. Rejects with DATABASE_NOT_FOUND, DISK, LTX_CORRUPT.
   */
  async increment(database: string): Promise<number> {
    await this.#checkPlace();
    const keeper = this.#keeper(database);
    await keeper.increment();
    this.#grown.add(database);
    if (keeper.archivedTxid !== undefined) return keeper.archivedTxid;
    throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${nameText(database)} here`);
  }

  #wanted(): string[] {
    return [...this.#parts.source.positions().keys()].filter(this.#isWanted).sort();
  }

  #keeper(database: string): DatabaseKeeper {
    const known = this.#keepers.get(database);
    if (known) return known;
    const { root } = archiveOf(this.#options.dir, database);
    const keeper = new DatabaseKeeper(database, root, this.#parts);
    this.#keepers.set(database, keeper);
    return keeper;
  }

  /** From now on the database has something to write. */
  #mark(database: string): void {
    if (this.#due.has(database) || this.#closed || !this.#isWanted(database)) return;
    const waitMs = this.#backoff.waitMs(database, this.#parts.clock.monotonicMs());
    const timer = setTimeout(
      () => {
        this.#due.delete(database);
        void this.#increment(database);
      },
      Math.max(this.#options.incrementsMs, waitMs),
    );
    this.#due.set(database, timer.unref());
  }

  async #increment(database: string): Promise<void> {
    const done = await this.#write(database, async (keeper) => void (await keeper.increment()));
    if (!done) this.#mark(database);
    await this.#tellOutage();
  }

  /** The command post is told once when increments begin to fail, and once when all go on. */
  async #tellOutage(): Promise<void> {
    // The directory could not be used at start.
    if (this.#troubles.textOf('snapshots', '') !== undefined) await this.#catchUp();
    const errors = this.warnings();
    const isOutage = errors.length > 0;
    if (isOutage === this.#isOutageTold || this.#closed) return;
    this.#isOutageTold = isOutage;
    const startedAtMs = this.#parts.clock.wallMs();
    const nothing = { startedAtMs, seconds: 0, snapshots: [], unchanged: [] };
    await this.#post({ ...nothing, ok: !isOutage, errors });
  }

  /** A scheduled run. One that is due while another goes on is left out. */
  async #scheduled(): Promise<void> {
    this.#served.serve();
    if (this.#isScheduledRunning) {
      this.#log.warn('a snapshot was due while another was being cut: it is left out');
      return;
    }
    this.#isScheduledRunning = true;
    try {
      const told = (text: string) => this.#log.error(`no snapshot was cut: ${text}`);
      await this.#ended(await this.#runOnce(() => this.#wanted(), told));
    } finally {
      this.#isScheduledRunning = false;
    }
  }

  /** What a scheduled run has failed at is tried again until all has gone well, and only then told of. */
  async #retry(): Promise<void> {
    if (this.#isScheduledRunning || this.lastRun?.ok !== false) return;
    const nowMs = this.#parts.clock.monotonicMs();
    const left = this.#wanted().filter((database) => this.#unfinished.has(database));
    const due = left.filter((database) => this.#backoff.waitMs(database, nowMs) === 0);
    if (due.length === 0 && left.length > 0) return;
    this.#isScheduledRunning = true;
    try {
      const run = await this.#runOnce(
        () => due,
        () => {},
      );
      if (run.ok && due.length === left.length) await this.#ended(run);
    } finally {
      this.#isScheduledRunning = false;
    }
  }

  async #runOnce(
    which: () => readonly string[],
    refused: (text: string) => void,
  ): Promise<RunReport> {
    const { pre, dir, hookMsMax } = this.#options;
    const environment = { LITEFS_SNAPSHOT_DIR: dir };
    const limits = { msMax: hookMsMax, stop: this.#over.signal };
    const before = pre === undefined ? undefined : await runHook(pre, environment, limits);
    const databases = which();
    this.#unfinished = new Set([...this.#unfinished, ...databases]);
    if (!before || before.ok) {
      const run = await this.#inTurn(() => this.#cutAll(databases));
      const done = [...run.snapshots.map(({ database }) => database), ...run.unchanged];
      this.#unfinished = new Set([...this.#unfinished].filter((each) => !done.includes(each)));
      return run;
    }
    const text = `the command pre failed: ${before.text}`;
    refused(text);
    return this.#failed(text);
  }

  async #ended(run: RunReport): Promise<void> {
    this.lastRun = run;
    if (run.ok) {
      this.lastSuccessMs = run.startedAtMs + run.seconds * 1000;
      this.#unfinished = new Set();
      await this.#attempt('snapshots', '', async () => this.#served.remember());
    }
    await this.#tidy(new Set(this.#wanted()));
    // What this run tells of need not be told again.
    this.#isOutageTold = this.warnings().length > 0;
    await this.#post(run);
  }

  async #post(run: RunReport): Promise<void> {
    const { post, dir, hookMsMax } = this.#options;
    if (post === undefined) return;
    const after = await runHook(post, resultEnvironment(run, dir), {
      msMax: hookMsMax,
      stop: this.#over.signal,
    });
    if (!after.ok) this.#log.warn(`the command post failed: ${after.text}`);
  }

  async #housekeep(): Promise<void> {
    await this.#tidy(this.#grown);
    await this.#retry();
    if (this.#isMissed()) await this.#catchUp();
    await this.#tellOutage();
  }

  #failed(text: string): RunReport {
    const startedAtMs = this.#parts.clock.wallMs();
    return { startedAtMs, seconds: 0, ok: false, snapshots: [], unchanged: [], errors: [text] };
  }

  async #cutAll(databases: readonly string[]): Promise<RunReport> {
    const { clock } = this.#parts;
    const [startedAtMs, beganMs] = [clock.wallMs(), clock.monotonicMs()];
    const snapshots: { database: string; file: ArchiveFile }[] = [];
    const unchanged: string[] = [];
    const errors: string[] = [];
    for (const database of databases) {
      if (this.#closed) break;
      const done = await this.#write(database, async (keeper) => {
        const file = await keeper.snapshot();
        if (file) snapshots.push({ database, file });
        else unchanged.push(database);
      });
      const text = this.#troubles.textOf('snapshots', database);
      if (!done) errors.push(`${nameText(database)}: ${text}`);
    }
    const seconds = Math.round(clock.monotonicMs() - beganMs) / 1000;
    const ok = errors.length === 0;
    return { startedAtMs, seconds, ok, snapshots, unchanged, errors };
  }

  /** A run that was missed, as the machine was off or asleep: once, now. */
  async #catchUp(): Promise<void> {
    await this.#attempt('snapshots', '', async () => {
      await this.#checkPlace();
      this.#served.load();
      if (!this.#isMissed()) return;
      this.#log.info(
        'a scheduled snapshot was missed while the node was down or asleep: it is cut now',
      );
      await this.#scheduled();
    });
  }

  #isMissed(): boolean {
    return !this.#isScheduledRunning && this.#served.isMissed();
  }

  async #tidy(databases: Set<string>): Promise<void> {
    if (databases.size === 0 || !(await this.#isPlaceOurs())) return;
    for (const database of [...databases]) {
      const done = await this.#attempt('tidying snapshots', database, async () => {
        this.#found(database, await this.#keeper(database).tidy());
      });
      if (done && !this.#damaged.has(database)) this.#grown.delete(database);
    }
  }

  #found(database: string, damaged: readonly string[]): void {
    const known = this.#damaged.get(database) ?? [];
    for (const text of damaged) {
      if (!known.includes(text))
        this.#log.error({ database }, `snapshots of ${nameText(database)}: ${text}`);
    }
    if (damaged.length > 0) this.#damaged.set(database, damaged);
    else this.#damaged.delete(database);
  }

  /** Never by this thread: a server that hangs must not hold up replication. Rejects with DISK, DATA_DIR. */
  async #checkPlace(): Promise<void> {
    const { dir, placesFile } = this.#options;
    const nowMs = this.#parts.clock.wallMs();
    const args = { dir, memory: placesFile, writer: this.#writer(), nowMs, had: this.#place };
    const { id, formerWriter } = await this.#parts.run('place', args);
    const isOther = this.#place !== undefined && this.#place !== id;
    if (isOther || formerWriter !== undefined) {
      const what = isOther ? 'is another directory than before' : `was written by ${formerWriter}`;
      this.#log.warn({ dir }, `${dir} ${what}: archives go on with what it has`);
      for (const keeper of this.#keepers.values()) keeper.forget();
    }
    this.#place = id;
  }

  #writer(): Writer {
    return { ...this.#options.writer(), run: this.#run };
  }

  /** Nothing of another node's is touched. That the directory cannot be used was told when it was to be written. */
  async #isPlaceOurs(): Promise<boolean> {
    try {
      await this.#checkPlace();
      return true;
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
      return false;
    }
  }

  /** A step that writes to an archive. While the directory is not there nothing counts as tried. */
  async #write(
    database: string,
    step: (keeper: DatabaseKeeper) => Promise<void>,
  ): Promise<boolean> {
    const { clock } = this.#parts;
    let beganMs: number | undefined;
    const done = await this.#attempt('snapshots', database, async () => {
      await this.#checkPlace();
      beganMs = clock.monotonicMs();
      await step(this.#keeper(database));
    });
    // Also when it has failed: a full disk is freed by what may be removed.
    this.#grown.add(database);
    if (done) this.#backoff.wentWell(database);
    else if (beganMs !== undefined) this.#backoff.failed(database, beganMs, clock.monotonicMs());
    return done;
  }

  #attempt(work: Work, database: string, step: () => Promise<void>): Promise<boolean> {
    return this.#troubles.attempt(work, database, step, () => this.#closed);
  }
}

function resultEnvironment(run: RunReport, dir: string): Record<string, string> {
  const bytes = run.snapshots.reduce((sum, { file }) => sum + file.bytes, 0);
  return {
    LITEFS_SNAPSHOT_DIR: dir,
    LITEFS_SNAPSHOT_RESULT: run.ok ? 'ok' : 'failed',
    LITEFS_SNAPSHOT_DATABASES: run.snapshots.map(({ database }) => nameText(database)).join('\n'),
    LITEFS_SNAPSHOT_UNCHANGED: run.unchanged.map(nameText).join('\n'),
    LITEFS_SNAPSHOT_ERRORS: run.errors.join('\n'),
    LITEFS_SNAPSHOT_BYTES: `${bytes}`,
    LITEFS_SNAPSHOT_SECONDS: `${run.seconds}`,
  };
}
