/** Replication in the daemon: the server on every node, the client on a replica, and what both mean for the node. */
import { randomBytes } from 'node:crypto';
import type { Config } from '../config/config.ts';
import type { ReplicaReport, UpstreamReport } from '../http/info.ts';
import type { NodeIdentity } from '../lease/node-identity.ts';
import type { Logger } from '../log.ts';
import { nameMatcher } from '../patterns.ts';
import { ReplicationClient } from '../replication/client.ts';
import { probePrimary } from '../replication/probe.ts';
import { ReplicationServer } from '../replication/server.ts';
import { positionTexts } from './node-report.ts';
import type { EngineThread } from './threads.ts';

export interface ReplicationParts {
  readonly config: Config;
  readonly identity: NodeIdentity;
  readonly engine: EngineThread;
  readonly log: Logger;
}

const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };
const LAG_UPDATE_MS = 1000;
/** How often a primary looks whether the node that the config names as primary is itself. */
const PROBE_MS = 60_000;

export class Replication {
  readonly #parts: ReplicationParts;
  readonly #server: ReplicationServer;
  readonly #client: ReplicationClient | undefined;
  readonly #synced = Promise.withResolvers<'synced'>();
  readonly #warnings = new Map<string, string>();
  #timers: NodeJS.Timeout[] = [];
  /** Called when a replica has met the node that it follows: the primary may be another. */
  readonly metListeners = new Set<() => void>();

  constructor(parts: ReplicationParts) {
    this.#parts = parts;
    const { config, identity, engine, log } = parts;
    const common = {
      store: engine.client,
      local: () => this.#local(),
      secret: config.replication.secret,
      log,
      clock,
      random: randomBytes,
    };
    this.#server = new ReplicationServer({
      ...common,
      upstream: () => ({
        hostname: this.primaryHostname ?? '',
        lagMs: this.#client?.state().lagMs ?? 0,
      }),
      onRefused: (verdict, peer) =>
        this.#warnings.set(`${verdict.code} ${peer.nodeId}`, verdict.text),
      onNeeds: (txids) => {
        engine.client.callIfAlive('pin', { txids }).catch(() => {});
      },
    });
    const target = config.replication.primary;
    if (identity.role === 'primary' || !target) return;
    this.#client = new ReplicationClient({
      ...common,
      target,
      reconnectDelayMs: config.lease.reconnectDelayMs,
      wanted: nameMatcher(config.lease.databases),
      events: {
        met: (server) => {
          identity.follow(server.clusterId, server.term);
          engine.shared.setPrimary(this.primaryHostname);
          for (const listener of this.metListeners) listener();
        },
        synced: () => {
          this.#updateLag();
          this.#synced.resolve('synced');
        },
      },
    });
  }

  /** Resolves when the replica has everything that the primary had when they met. */
  get synced(): Promise<'synced'> {
    return this.#synced.promise;
  }

  /** The primary's name: our own on the primary; undefined when it is not known yet. */
  get primaryHostname(): string | undefined {
    const { identity, config } = this.#parts;
    if (identity.role === 'primary') return identity.hostname;
    const server = this.#client?.state().server;
    if (!server) return config.lease.hostname;
    return server.role === 'primary' ? server.hostname : server.primaryHostname || undefined;
  }

  /** Throws LISTEN. Resolves with the port. */
  listen(): Promise<number> {
    const { host, port } = this.#parts.config.replication.addr;
    return this.#server.listen(host, port);
  }

  start(): void {
    this.#client?.start();
    if (this.#client) {
      this.#timers.push(setInterval(() => this.#updateLag(), LAG_UPDATE_MS));
    } else {
      this.#probe();
      this.#timers.push(setInterval(() => this.#probe(), PROBE_MS));
    }
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#client?.close();
    await this.#server.close();
  }

  replicas(): ReplicaReport[] {
    return this.#server.replicas().map((replica) => ({
      nodeId: replica.nodeId,
      hostname: replica.hostname,
      address: replica.address,
      connectedAt: new Date(replica.connectedAtMs).toISOString(),
      positions: positionTexts(replica.positions),
    }));
  }

  upstream(): UpstreamReport | null {
    const target = this.#parts.config.replication.primary;
    if (!this.#client || !target) return null;
    const state = this.#client.state();
    return {
      address: `${target.host}:${target.port}`,
      hostname: state.server?.hostname ?? null,
      connected: state.connected,
      inSync: state.inSync,
      lagMs: state.lagMs ?? null,
      error: state.error ?? null,
      positions: positionTexts(state.positions),
    };
  }

  warnings(): string[] {
    const upstream = this.upstream();
    const disconnected =
      upstream && !upstream.connected
        ? [`not connected to ${upstream.address}: ${upstream.error ?? 'connecting'}`]
        : [];
    return [...disconnected, ...this.#warnings.values()];
  }

  #local() {
    const { identity } = this.#parts;
    const { nodeId, clusterId, term, role, hostname, advertiseUrl } = identity;
    return { nodeId, clusterId, term, role, hostname, advertiseUrl };
  }

  #updateLag(): void {
    const state = this.#client?.state();
    if (state) this.#parts.engine.shared.setLag(state.lagMs, state.primaryClockMs || Date.now());
  }

  /** The config names a primary: if that is another node, and it claims to be one too, both must know. */
  #probe(): void {
    const { config, log } = this.#parts;
    const target = config.replication.primary;
    if (!target) return;
    probePrimary({
      target,
      local: this.#local(),
      secret: config.replication.secret,
      random: randomBytes,
    })
      .then((verdict) => {
        if (!verdict || this.#warnings.has(verdict.code)) return;
        this.#warnings.set(verdict.code, verdict.text);
        log.error({ code: verdict.code }, verdict.text);
      })
      .catch((error) => log.debug({ err: error }, 'nobody answers where the primary should be'));
  }
}
