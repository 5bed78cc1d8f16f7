/** The node's HTTP API: what the routes (http/routes.ts) ask for, gathered from the parts of the node. */
import type { EngineClient } from '../engine/client.ts';
import type { WireEntry } from '../engine/protocol.ts';
import { EventStreams, type NodeEvent, type PrimaryData } from '../http/events.ts';
import type { HealthReport, NodeReport, VerifyReport } from '../http/info.ts';
import { nameText } from '../http/names.ts';
import type { NodeApi } from '../http/routes.ts';
import type { SnapshotRunReport, SnapshotsReport } from '../http/snapshots.ts';
import { formatChecksum, formatTxid } from '../ltx/position.ts';
import { NodeReporter, type ReporterParts } from './node-report.ts';

export class Api implements NodeApi {
  readonly events = new EventStreams();
  readonly #parts: ReporterParts;
  readonly #reporter: NodeReporter;
  #primary: PrimaryData;
  #ready = false;

  constructor(parts: ReporterParts) {
    this.#parts = parts;
    this.#reporter = new NodeReporter(parts);
    this.#primary = this.primary();
    followEngine(parts.engine, (event) => this.events.publish(event));
    parts.replication.metListeners.add(() => this.#met());
  }

  /** The kernel is being served; `passthrough`: files by the kernel itself. */
  mounted(passthrough: boolean): void {
    this.#reporter.passthrough = passthrough;
  }

  /** The node is primary, or has been in sync. */
  ready(): void {
    this.#ready = true;
  }

  info(): Promise<NodeReport> {
    return this.#reporter.info();
  }

  verify(database: string): Promise<VerifyReport> {
    return this.#reporter.verify(database);
  }

  primary(): PrimaryData {
    const { identity, replication } = this.#parts;
    return {
      isPrimary: identity.role === 'primary',
      hostname: replication.primaryHostname ?? '',
    };
  }

  snapshots(): Promise<SnapshotsReport> {
    return this.#parts.snapshots.report();
  }

  snapshot(database: string | undefined): Promise<SnapshotRunReport> {
    return this.#parts.snapshots.cut(database);
  }

  health(): HealthReport {
    const { engine, replication } = this.#parts;
    const reasons: string[] = [];
    if (!this.#ready) reasons.push('the node is starting');
    const upstream = replication.upstream();
    if (upstream && !upstream.connected) reasons.push(...replication.warnings());
    else if (upstream && !upstream.inSync) reasons.push(`not in sync with ${upstream.address} yet`);
    for (const [name, status] of engine.statuses()) {
      if (status.state === 'degraded') reasons.push(`${nameText(name)}: ${status.reason}`);
    }
    return { status: reasons.length === 0 ? 'ok' : 'unhealthy', reasons };
  }

  #met(): void {
    const primary = this.primary();
    if (primary.hostname === this.#primary.hostname) return;
    this.#primary = primary;
    this.events.publish({ type: 'primaryChange', data: primary });
  }
}

function followEngine(engine: EngineClient, publish: (event: NodeEvent) => void): void {
  engine.onEntry((entry) =>
    publish({ type: 'tx', db: nameText(entry.database), data: transaction(entry) }),
  );
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
