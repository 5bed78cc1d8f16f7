/** Snapshots in the daemon: the keeper with its thread, and what the API tells of it. */
import { setTimeout } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import type { EngineClient } from '../engine/client.ts';
import { LiteFsError } from '../errors.ts';
import { nameText } from '../http/names.ts';
import type { IncrementReport, SnapshotRunReport, SnapshotsReport } from '../http/snapshots.ts';
import type { NodeIdentity } from '../lease/node-identity.ts';
import type { Logger } from '../log.ts';
import { formatTxid } from '../ltx/position.ts';
import { type RunReport, SnapshotKeeper } from '../snapshots/keeper.ts';
import { describeArchive, describeSnapshot } from '../snapshots/report.ts';
import { SnapshotThread, type SnapshotWorkerData } from '../snapshots/thread.ts';
import { notToBeTold } from './uncaptured.ts';
import { startWorker } from './worker.ts';

const CLOSE_MS_MAX = 10_000;
/** How long the thread may take to end: it cannot while a server hangs that it has asked. */
const END_MS_MAX = 2000;
const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

export interface SnapshotParts {
  readonly config: Config;
  readonly identity: NodeIdentity;
  readonly engine: EngineClient;
  /** A local folder for files that are checked. */
  readonly scratchDir: string;
  /** The file that knows where archives were. */
  readonly placesFile: string;
  /** The file that knows until when the schedule was served. */
  readonly runFile: string;
  readonly log: Logger;
}

export class Snapshots {
  readonly #engine: EngineClient;
  /** Where they are kept; null when this node cuts none. */
  readonly dir: string | null;
  readonly #verify: SnapshotsReport['verify'] | undefined;
  readonly #thread: SnapshotThread;
  readonly #keeper: SnapshotKeeper | undefined;
  #isStarted = false;
  /** The thread waits in the kernel, where nothing can end it but the process's own end. */
  isStuck = false;

  constructor({ config, identity, engine, scratchDir, placesFile, runFile, log }: SnapshotParts) {
    this.#engine = engine;
    const options = config.snapshots;
    const workerData: SnapshotWorkerData = {
      nice: options?.nice ?? 0,
      rateMax: options?.rateMax ?? 0,
    };
    this.#thread = new SnapshotThread(() => startWorker('snapshots', { workerData }));
    const role = config.lease.candidate ? 'primary' : 'replica';
    const isOn = options?.on === 'any' || options?.on === role;
    this.dir = isOn ? options.dir : null;
    if (!options || !isOn) return;
    this.#verify = options.verify;
    const writer = () => {
      const { clusterId: cluster, nodeId: node, hostname } = identity;
      return { cluster, node, hostname };
    };
    this.#keeper = new SnapshotKeeper(
      { ...options, check: options.verify, scratchDir, placesFile, runFile, writer },
      { source: engine, run: this.#thread.run, clock, sleep: setTimeout, log },
    );
  }

  /** Once the node is ready. */
  start(): void {
    this.#isStarted = true;
    this.#keeper?.start();
  }

  /**
   * While the engine still works: what was committed until now goes into the archives, unless that takes long, or `force`
   * says not to wait for it.
   */
  async close(force: AbortSignal): Promise<void> {
    try {
      if (this.#isStarted && this.#keeper) {
        await this.#engine.callIfAlive('flush', {});
        // A thread that reads a large snapshot back hears of nothing: what is not written then comes at the next start.
        await within(CLOSE_MS_MAX, this.#keeper.close(), force);
      }
    } finally {
      const ended = this.#thread.close().then(() => true);
      this.isStuck = (await within(END_MS_MAX, ended)) === undefined;
    }
  }

  warnings(): string[] {
    return this.#keeper?.warnings() ?? [];
  }

  /** For metrics; undefined when this node cuts none. */
  counts(): { lastSuccessMs: number | undefined; ok: boolean } | undefined {
    const keeper = this.#keeper;
    if (!keeper) return undefined;
    const ok = (keeper.lastRun?.ok ?? true) && keeper.warnings().length === 0;
    return { lastSuccessMs: keeper.lastSuccessMs, ok };
  }

  /** Rejects with DISK. */
  async report(): Promise<SnapshotsReport> {
    const keeper = this.#keeper;
    const lists = (await keeper?.list()) ?? new Map();
    return {
      dir: this.dir,
      verify: this.#verify ?? null,
      nextRun: keeper?.nextRun?.toISOString() ?? null,
      lastRun: keeper?.lastRun ? runReport(keeper.lastRun) : null,
      databases: [...lists].map(([name, files]) => describeArchive(nameText(name), files)),
      warnings: this.warnings(),
    };
  }

  /** Rejects with WRONG_STATE when this node cuts none, DATABASE_NOT_FOUND. */
  async cut(database: string | undefined): Promise<SnapshotRunReport> {
    return runReport(await this.#own().snapshot(database));
  }

  /** Archives what is committed by now. Rejects with WRONG_STATE, DATABASE_NOT_FOUND, DATABASE_BUSY, DISK. */
  async increment(database: string): Promise<IncrementReport> {
    const keeper = this.#own();
    const [left] = await this.#engine.call('flush', { database });
    if (left) throw notToBeTold(left);
    const txid = await keeper.increment(database);
    return { name: nameText(database), txid: formatTxid(txid) };
  }

  #own(): SnapshotKeeper {
    if (this.#keeper) return this.#keeper;
    throw new LiteFsError('WRONG_STATE', 'this node cuts no snapshots', {
      hint: 'Add a snapshots section to its config, or ask the node that has one (snapshots.on).',
    });
  }
}

/** Resolves with what `work` does, or undefined when it takes longer or `force` is aborted. */
async function within<T>(
  ms: number,
  work: Promise<T>,
  force?: AbortSignal,
): Promise<T | undefined> {
  const over = new AbortController();
  const signal = force ? AbortSignal.any([force, over.signal]) : over.signal;
  const late = setTimeout(ms, undefined, { signal }).catch(() => undefined);
  return Promise.race([work, late]).finally(() => over.abort());
}

function runReport(run: RunReport): SnapshotRunReport {
  return {
    startedAt: new Date(run.startedAtMs).toISOString(),
    seconds: run.seconds,
    ok: run.ok,
    snapshots: run.snapshots.map(({ database, file }) => ({
      name: nameText(database),
      ...describeSnapshot(file),
    })),
    unchanged: run.unchanged.map(nameText),
    errors: run.errors,
  };
}
