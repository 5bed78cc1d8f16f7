/** The node's HTTP API: what the routes (http/routes.ts) ask for, gathered from the parts of the node. */
import fs from 'node:fs';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { WireEntry } from '../engine/protocol.ts';
import { LiteFsError } from '../errors.ts';
import { namedCounts } from '../fuse/operations.ts';
import { EventStreams, type PrimaryData } from '../http/events.ts';
import { History, type HistoryReport, SAMPLE_MS } from '../http/history.ts';
import type {
  HaltReport,
  HealthReport,
  ImportReport,
  NodeReport,
  RestoreReport,
  VerifyReport,
} from '../http/info.ts';
import { nameText } from '../http/names.ts';
import type { NodeApi } from '../http/routes.ts';
import type { IncrementReport, SnapshotRunReport, SnapshotsReport } from '../http/snapshots.ts';
import { formatChecksum, formatPosition, formatTxid } from '../ltx/position.ts';
import { NodeMetrics, type NodeState } from '../metrics/node-metrics.ts';
import { LAG_FILE, nameFault } from '../mount/names.ts';
import { Transfers } from '../transfer/transfers.ts';
import { NodeReporter, type ReporterParts } from './node-report.ts';
import { Pulse } from './pulse.ts';
import { restoreInto } from './restore.ts';
import { startSelf } from './self.ts';
import { notToBeTold } from './uncaptured.ts';

export class Api implements NodeApi {
  readonly events = new EventStreams();
  readonly metrics: NodeMetrics;
  readonly #parts: ReporterParts;
  readonly #reporter: NodeReporter;
  readonly #transfers: Transfers;
  readonly #history = new History(Date.now());
  readonly #sampling: NodeJS.Timeout;
  /** What is asked whether it is there: the engine, and the mount once there is one. */
  readonly #pulses: Pulse[];
  #primary: PrimaryData;
  #ready = false;

  constructor(parts: ReporterParts) {
    this.#parts = parts;
    this.#reporter = new NodeReporter(parts);
    this.metrics = new NodeMetrics(() => this.#state());
    this.#primary = this.primary();
    this.#pulses = [new Pulse({ name: 'the engine', ask: () => parts.engine.call('info', {}) })];
    this.#transfers = new Transfers({
      mountDir: parts.mountDir,
      spoolDir: parts.spoolDir,
      startProcess: (command) => startSelf([command]),
    });
    parts.engine.onEntry((entry) => {
      this.#history.committed(entry.maxTxid - entry.minTxid + 1);
      if (this.events.count === 0) return;
      this.events.publish({ type: 'tx', db: nameText(entry.database), data: transaction(entry) });
    });
    this.#sampling = setInterval(
      () => this.#history.sample(Date.now(), parts.replication.lags()),
      SAMPLE_MS,
    );
    parts.replication.metListeners.add(() => this.#met());
  }

  /** The kernel is being served; `passthrough`: files by the kernel itself. */
  mounted(passthrough: boolean): void {
    this.#reporter.passthrough = passthrough;
    const file = path.join(this.#parts.mountDir, LAG_FILE);
    this.#pulses.push(new Pulse({ name: 'the mount', ask: () => fs.promises.stat(file) }));
  }

  /** The node is primary, or has been in sync. */
  ready(): void {
    this.#ready = true;
  }

  info(): Promise<NodeReport> {
    return this.#reporter.info();
  }

  history(): HistoryReport {
    return this.#history.report();
  }

  verify(database: string): Promise<VerifyReport> {
    return this.#parts.replication.verification.report(database);
  }

  primary(): PrimaryData {
    const { identity, replication } = this.#parts;
    return {
      isPrimary: identity.role === 'primary',
      hostname: replication.primaryHostname ?? '',
    };
  }

  export(database: string, begin: (bytes: number) => Writable, signal: AbortSignal): Promise<void> {
    if (!this.#parts.engine.positions().has(database)) {
      throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${nameText(database)}`);
    }
    return this.#transfers.export(database, begin, signal);
  }

  async import(database: string, source: Readable, signal: AbortSignal): Promise<ImportReport> {
    const { engine } = this.#parts;
    this.#expectPrimary('Import');
    const fault = nameFault(database);
    if (fault !== undefined) {
      throw new LiteFsError('USAGE', `the name ${nameText(database)} ${fault}`, {
        hint: "SQLite has files of its own that end in -wal, -shm and -journal, and .primary and .lag are the mount's.",
      });
    }
    const bytes = await this.#transfers.import(database, source, signal);
    const left = await engine.call('flush', {});
    const ours = left.find((uncaptured) => uncaptured.database === database);
    if (ours) throw notToBeTold(ours);
    const position = engine.positions().get(database);
    if (!position) {
      throw new LiteFsError('WRONG_STATE', `${nameText(database)} is not replicated`, {
        hint: 'It is there, but its name fits none of lease.databases.',
      });
    }
    return { name: nameText(database), bytes, position: formatPosition(position) };
  }

  async restore(database: string, source: Readable, signal: AbortSignal): Promise<RestoreReport> {
    this.#expectPrimary('Restore');
    const { engine, replication, snapshots } = this.#parts;
    const parts = { engine, snapshots, halts: replication.halts };
    return this.#transfers.received(source, signal, (image) =>
      restoreInto(parts, database, image, signal),
    );
  }

  /** Throws WRONG_STATE. `what`: to do there. */
  #expectPrimary(what: string): void {
    const { identity, replication } = this.#parts;
    if (identity.role === 'replica') {
      const primary = replication.primaryHostname;
      throw new LiteFsError('WRONG_STATE', `${identity.hostname} is a replica`, {
        hint: `${what} on the primary${primary ? `, ${primary}` : ''}.`,
      });
    }
    if (!this.#ready) throw new LiteFsError('WRONG_STATE', 'the node is starting');
  }

  async halt(database: string, id: number): Promise<HaltReport> {
    if (!this.#ready) throw new LiteFsError('WRONG_STATE', 'the node is starting');
    return this.#parts.replication.halts.take(database, id);
  }

  unhalt(database: string, id: number): Promise<HaltReport> {
    return this.#parts.replication.halts.give(database, id);
  }

  snapshots(): Promise<SnapshotsReport> {
    return this.#parts.snapshots.report();
  }

  snapshot(database: string | undefined): Promise<SnapshotRunReport> {
    return this.#parts.snapshots.cut(database);
  }

  increment(database: string): Promise<IncrementReport> {
    return this.#parts.snapshots.increment(database);
  }

  async health(): Promise<HealthReport> {
    await Promise.all(this.#pulses.map((pulse) => pulse.feel()));
    const reasons = this.troubles();
    return { status: reasons.length === 0 ? 'ok' : 'unhealthy', reasons };
  }

  /** Why it is not well, in plain words, by what is known without asking. */
  troubles(): string[] {
    const { engine, replication } = this.#parts;
    const reasons = this.#pulses.flatMap(({ trouble }) => trouble ?? []);
    if (!this.#ready) reasons.push('the node is starting');
    const upstream = replication.upstream();
    if (upstream && !upstream.connected) reasons.push(...replication.warnings());
    else if (upstream && !upstream.inSync) reasons.push(`not in sync with ${upstream.address} yet`);
    for (const [name, status] of engine.statuses()) {
      if (status.state === 'degraded') reasons.push(`${nameText(name)}: ${status.reason}`);
    }
    return reasons;
  }

  close(): void {
    clearInterval(this.#sampling);
  }

  async #state(): Promise<NodeState> {
    const { engine, shared, snapshots } = this.#parts;
    const [info, databases] = await Promise.all([this.info(), engine.call('tallies', {})]);
    return {
      info,
      healthy: this.troubles().length === 0,
      databases: databases.map((db) => ({ ...db, name: nameText(db.name) })),
      fuseRequests: namedCounts(shared.requestCounts),
      snapshots: snapshots.counts(),
    };
  }

  #met(): void {
    const primary = this.primary();
    if (primary.hostname === this.#primary.hostname) return;
    this.#primary = primary;
    this.events.publish({ type: 'primaryChange', data: primary });
  }
}

function transaction({ post, pageSize, commit, timestampMs }: WireEntry) {
  const timestamp = new Date(timestampMs).toISOString();
  return {
    txID: formatTxid(post.txid),
    postApplyChecksum: formatChecksum(post.checksum),
    pageSize,
    commit,
    timestamp,
  };
}
