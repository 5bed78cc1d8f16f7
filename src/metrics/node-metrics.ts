/** What GET /metrics shows. The names are the interface: dashboards and alerts are written with them. */
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import { LATENCY_BOUNDS_S } from '../engine/core/tally.ts';
import type { DatabaseTally, LatencyCounts } from '../engine/protocol.ts';
import { type NodeReport, positionIn } from '../http/info.ts';
import { counter, gauge, histogram, type Sample } from './family.ts';

export interface SnapshotCounts {
  /** When the newest run that succeeded ended, ms since 1970. */
  readonly lastSuccessMs: number | undefined;
  /** Neither the last run failed nor do increments now. */
  readonly ok: boolean;
}

/** The state of the node at one moment. */
export interface NodeState {
  readonly info: NodeReport;
  readonly healthy: boolean;
  readonly databases: readonly DatabaseTally[];
  /** By name of the operation. */
  readonly fuseRequests: Readonly<Record<string, number>>;
  /** undefined when this node cuts none. */
  readonly snapshots: SnapshotCounts | undefined;
}

export interface ProxyRequest {
  readonly kind: string;
  readonly way: string;
  readonly status: number;
  readonly ms: number;
}

const REQUEST_BOUNDS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

const SELDOM_MS = 3_600_000;

export class NodeMetrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #registry = new Registry();
  readonly #read: () => Promise<NodeState>;
  #state: NodeState | undefined;
  readonly #httpRequests = new Counter({
    name: 'litefs_lite_http_requests_total',
    help: 'Requests to the HTTP API.',
    labelNames: ['route', 'status'],
    registers: [this.#registry],
  });
  readonly #proxyRequests = new Counter({
    name: 'litefs_lite_proxy_requests_total',
    help: 'Requests to the proxy: what kind, and which way each went.',
    labelNames: ['kind', 'way', 'status'],
    registers: [this.#registry],
  });
  readonly #proxySeconds = new Histogram({
    name: 'litefs_lite_proxy_request_seconds',
    help: 'From the head of a request to the end of its answer.',
    labelNames: ['kind'],
    buckets: REQUEST_BOUNDS_S,
    registers: [this.#registry],
  });

  constructor(read: () => Promise<NodeState>) {
    this.#read = read;
    collectProcessMetrics(this.#registry);
    this.#ofTheNode();
    this.#ofDatabases();
    this.#ofReplication();
    this.#ofTheRest();
  }

  /** Prometheus's text format. Rejects when the engine does not answer. */
  async text(): Promise<string> {
    this.#state = await this.#read();
    return this.#registry.metrics();
  }

  httpAnswered(route: string, status: number): void {
    this.#httpRequests.inc({ route, status: `${status}` });
  }

  proxied({ kind, way, status, ms }: ProxyRequest): void {
    this.#proxyRequests.inc({ kind, way, status: `${status}` });
    this.#proxySeconds.observe({ kind }, ms / 1000);
  }

  #gauge(name: string, help: string, read: (state: NodeState) => Sample[]): void {
    gauge(this.#registry, { name: `litefs_lite_${name}`, help }, () => this.#samples(read));
  }

  #counter(name: string, help: string, read: (state: NodeState) => Sample[]): void {
    counter(this.#registry, { name: `litefs_lite_${name}`, help }, () => this.#samples(read));
  }

  #samples(read: (state: NodeState) => Sample[]): Sample[] {
    return this.#state ? read(this.#state) : [];
  }

  #ofTheNode(): void {
    this.#gauge('build_info', 'Always 1: the labels say which node this is.', ({ info }) => {
      const { version, hostname, role, nodeID, clusterID } = info;
      return [{ labels: { version, hostname, role, node: nodeID, cluster: clusterID }, value: 1 }];
    });
    this.#gauge('healthy', '1 when GET /healthz is 200.', ({ healthy }) => one(healthy ? 1 : 0));
    this.#gauge('primary', '1 on the primary.', ({ info }) => one(info.isPrimary ? 1 : 0));
    this.#gauge('term', 'The term of the primary.', ({ info }) => one(info.term));
    this.#gauge('warnings', 'Warnings in the status.', ({ info }) => one(info.warnings.length));
  }

  #ofDatabases(): void {
    type Report = NodeReport['databases'][number];
    const each = (read: (db: Report) => number) => (state: NodeState) =>
      state.info.databases.map((db) => ({ labels: { database: db.name }, value: read(db) }));
    const counted = (read: (db: DatabaseTally) => number) => (state: NodeState) =>
      state.databases.map((db) => ({ labels: { database: db.name }, value: read(db) }));
    this.#gauge('database_txid', 'The last transaction.', each(txidOf));
    this.#gauge(
      'database_size_bytes',
      'Size of the database.',
      each(({ pages, pageSize }) => pages * pageSize),
    );
    this.#gauge(
      'database_wal_bytes',
      'Size of its -wal.',
      each(({ walBytes }) => walBytes),
    );
    this.#gauge(
      'database_log_bytes',
      'LTX files in the log.',
      each(({ log }) => log.bytes),
    );
    this.#gauge(
      'database_log_files',
      'LTX files in the log.',
      each(({ log }) => log.files),
    );
    this.#gauge(
      'database_degraded',
      '1 while it cannot be replicated; the status says why.',
      each(({ state }) => (state === 'degraded' ? 1 : 0)),
    );
    this.#gauge(
      'database_halt_lock_held',
      '1 while one node alone may write it.',
      each(({ haltHolder }) => (haltHolder === null ? 0 : 1)),
    );
    this.#counter(
      'database_commits_total',
      'Transactions captured, on a replica applied.',
      counted(({ commits }) => commits),
    );
    this.#counter(
      'database_pages_total',
      'Pages in these transactions.',
      counted(({ pages }) => pages),
    );
    this.#counter(
      'database_checksum_failures_total',
      'What was not what its checksum says.',
      counted(({ checksumFailures }) => checksumFailures),
    );
    this.#counter(
      'database_faults_total',
      'Pages found wrong by verify.background that nothing had written.',
      counted(({ faults }) => faults),
    );
    this.#counter(
      'database_resyncs_total',
      'Times that pages were taken from the primary, not transactions.',
      counted(({ resyncs }) => resyncs),
    );
    this.#latencies(
      'capture_seconds',
      'From the look at a database until what was found is in the log.',
      ({ capture }) => capture,
    );
    this.#latencies(
      'apply_seconds',
      'From the receipt of transactions until they are visible, those that came together once.',
      ({ apply }) => apply,
    );
  }

  #latencies(name: string, help: string, read: (db: DatabaseTally) => LatencyCounts): void {
    const about = { name: `litefs_lite_${name}`, help };
    histogram(this.#registry, about, LATENCY_BOUNDS_S, () =>
      (this.#state?.databases ?? []).map((db) => {
        const { counts, sumS } = read(db);
        return { labels: { database: db.name }, counts, sum: sumS };
      }),
    );
  }

  #ofReplication(): void {
    this.#gauge('replicas', 'Nodes that follow this one.', ({ info }) => one(info.replicas.length));
    const labelsOf = ({ hostname, nodeId }: { hostname: string; nodeId: string }) => ({
      replica: hostname,
      node: nodeId,
    });
    this.#gauge(
      'replica_connected',
      '1 for a node that follows this one, 0 for one that did, for a week or until this node starts anew.',
      ({ info }) => [
        ...info.replicas.map((replica) => ({ labels: labelsOf(replica), value: 1 })),
        ...info.absent.map((absent) => ({ labels: labelsOf(absent), value: 0 })),
      ],
    );
    this.#gauge(
      'replica_lag_seconds',
      'For how long a node that follows this one, or did, has not had everything.',
      ({ info }) =>
        [...info.replicas, ...info.absent].map((replica) => ({
          labels: labelsOf(replica),
          value: replica.behindMs / 1000,
        })),
    );
    this.#gauge(
      'replica_lag_transactions',
      'How many transactions a node that follows this one does not have.',
      ({ info }) =>
        info.replicas.flatMap((replica) =>
          info.databases.map((db) => ({
            labels: { ...labelsOf(replica), database: db.name },
            value: Math.max(0, txidOf(db) - txidIn(positionIn(replica.positions, db.name))),
          })),
        ),
    );
    const upstream =
      (read: (from: NonNullable<NodeReport['upstream']>) => number | null) =>
      ({ info }: NodeState): Sample[] => {
        const value = info.upstream && read(info.upstream);
        return value === null ? [] : one(value);
      };
    this.#gauge(
      'connected',
      'On a replica: 1 while connected to the node that it follows.',
      upstream(({ connected }) => (connected ? 1 : 0)),
    );
    this.#gauge(
      'in_sync',
      'On a replica: 1 when it has had everything since it connected.',
      upstream(({ inSync }) => (inSync ? 1 : 0)),
    );
    this.#gauge(
      'lag_seconds',
      'On a replica: how far it is behind the primary.',
      upstream(({ lagMs }) => (lagMs === null ? null : lagMs / 1000)),
    );
  }

  #ofTheRest(): void {
    this.#counter(
      'fuse_requests_total',
      'Requests of the kernel to the file system.',
      ({ fuseRequests }) =>
        Object.entries(fuseRequests).map(([operation, value]) => ({
          labels: { operation: operation.toLowerCase() },
          value,
        })),
    );
    this.#gauge(
      'snapshot_last_success_timestamp_seconds',
      'When the newest run of snapshots without an error ended.',
      ({ snapshots }) =>
        snapshots?.lastSuccessMs === undefined ? [] : one(snapshots.lastSuccessMs / 1000),
    );
    this.#gauge(
      'snapshot_ok',
      '0 after a run of snapshots with an error, and while archives cannot be written or are damaged.',
      ({ snapshots }) => (snapshots ? one(snapshots.ok ? 1 : 0) : []),
    );
  }
}

/**
 * prom-client's own metrics of the process, without the distribution of the event loop's delay: it is sampled by a
 * timer of 10 ms, which alone keeps an idle daemon at 0.8 % of a processor.
 */
function collectProcessMetrics(register: Registry): void {
  collectDefaultMetrics({ register, eventLoopMonitoringPrecision: SELDOM_MS });
  for (const what of ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99']) {
    register.removeSingleMetric(`nodejs_eventloop_lag_${what}_seconds`);
  }
}

function one(value: number): Sample[] {
  return [{ value }];
}

function txidOf({ position }: { readonly position: string }): number {
  return txidIn(position);
}

function txidIn(position: string | undefined): number {
  return position === undefined ? 0 : Number.parseInt(position.slice(0, 16), 16);
}
