/** Replication in the daemon: the server on every node, the client on a replica, and what both mean for the node. */
import { randomBytes } from 'node:crypto';
import type { Config } from '../config/config.ts';
import {
  type AbsentReport,
  type ReplicaReport,
  type UpstreamReport,
  whyDisconnected,
} from '../http/info.ts';
import { nameText } from '../http/names.ts';
import type { NodeIdentity } from '../lease/node-identity.ts';
import { Sightings } from '../lease/sightings.ts';
import type { Logger } from '../log.ts';
import { type ClientState, ReplicationClient } from '../replication/client.ts';
import { type Trouble, troubleText } from '../replication/parts.ts';
import { probePrimary } from '../replication/probe.ts';
import { ReplicationServer } from '../replication/server.ts';
import { Halts } from './halts.ts';
import { positionTexts } from './node-report.ts';
import type { Following } from './status-line.ts';
import type { EngineThread } from './threads.ts';
import { Verification } from './verification.ts';

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
  readonly halts: Halts;
  readonly verification: Verification;
  readonly #parts: ReplicationParts;
  readonly #server: ReplicationServer;
  readonly #client: ReplicationClient | undefined;
  readonly #synced = Promise.withResolvers<'synced'>();
  readonly #sightings = new Sightings(clock.monotonicMs);
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
    const own = { identity, engine: engine.client, log, client: () => this.#client };
    this.halts = new Halts(own);
    this.verification = new Verification(own);
    this.#server = new ReplicationServer({
      ...common,
      halts: this.halts,
      verifier: this.verification,
      upstream: () => ({
        hostname: this.primaryHostname ?? '',
        // Those that follow us reach the primary by another host than ours.
        proxy: identity.role === 'primary' ? this.#proxyText() : (this.primaryProxyUrl ?? ''),
        knowsAll: this.lagMs !== undefined,
        away: this.#away() ?? '',
        lagMs: this.lagMs ?? 0,
        troubles: [...this.#ownTroubles(), ...this.#upstreamTroubles()],
      }),
      onRefused: (verdict, peer) =>
        this.#sightings.saw(`${verdict.code} ${peer.nodeId}`, verdict.text),
      onNeeds: (txids) => engine.client.pin('replicas', txids),
    });
    engine.client.onCorrection((database) => this.#client?.compare(database));
    const target = config.replication.primary;
    if (identity.role === 'primary' || !target) return;
    this.#client = new ReplicationClient({
      ...common,
      target,
      reconnectDelayMs: config.lease.reconnectDelayMs,
      patterns: config.lease.databases,
      events: {
        met: (server) => {
          identity.follow(server.clusterId, server.term);
          engine.shared.setPrimary(this.primaryHostname);
          for (const listener of this.metListeners) listener();
        },
        lost: () => this.halts.disconnected(),
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

  /** The URL of the primary's proxy; undefined when it is not known, or there is none. */
  get primaryProxyUrl(): string | undefined {
    const target = this.#parts.config.replication.primary;
    const text = this.#proxyText();
    if (!text.startsWith(':')) return text || undefined;
    if (!target) return undefined;
    const host = target.host.includes(':') ? `[${target.host}]` : target.host;
    return `http://${host}${text}`;
  }

  /** How far behind the primary, ms; undefined before the first sync, 0 on the primary. */
  get lagMs(): number | undefined {
    return this.#client ? this.#client.state().lagMs : 0;
  }

  /** What the node that this one follows has told of its databases, by their names as bytes. */
  heard(): Pick<ClientState, 'positions' | 'primaryWord'> {
    return this.#client?.state() ?? { positions: new Map(), primaryWord: undefined };
  }

  /** The addresses from which nodes follow this one now, without their ports. */
  followerHosts(): string[] {
    return this.#server.replicas().map(({ address }) => address.slice(0, address.lastIndexOf(':')));
  }

  /** As Hello has it: what we know of the primary's proxy, or on the primary, where ours is. */
  #proxyText(): string {
    const { identity, config } = this.#parts;
    if (identity.role === 'replica') return this.#client?.state().server?.primaryProxy ?? '';
    const { proxy } = config;
    if (!proxy) return '';
    return proxy.advertise ?? `:${proxy.addr.port}`;
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
    this.halts.close();
    this.#client?.close();
    await this.#server.close();
  }

  replicas(): ReplicaReport[] {
    return this.#server.replicas().map((replica) => ({
      nodeId: replica.nodeId,
      hostname: replica.hostname,
      version: replica.release,
      address: replica.address,
      connectedAt: new Date(replica.connectedAtMs).toISOString(),
      behindMs: Math.round(replica.behindMs),
      positions: positionTexts(replica.positions),
    }));
  }

  absent(): AbsentReport[] {
    return this.#server.absent().map((absent) => ({
      nodeId: absent.nodeId,
      hostname: absent.hostname,
      address: absent.address,
      goneAt: new Date(absent.goneAtMs).toISOString(),
      behindMs: Math.round(absent.behindMs),
      positions: positionTexts(absent.positions),
    }));
  }

  /** How far behind this node is, or on any node those that follow it or did, ms by node ID; null: not known. */
  lags(): Map<string, number | null> {
    const lags = new Map<string, number | null>();
    const nodes = [...this.#server.replicas(), ...this.#server.absent()];
    for (const { nodeId, behindMs } of nodes) lags.set(nodeId, Math.round(behindMs));
    if (this.#client) lags.set(this.#parts.identity.nodeId, this.lagMs ?? null);
    return lags;
  }

  upstream(): UpstreamReport | null {
    const target = this.#parts.config.replication.primary;
    if (!this.#client || !target) return null;
    const state = this.#client.state();
    return {
      address: `${target.host}:${target.port}`,
      hostname: state.server?.hostname ?? null,
      version: state.server?.release ?? null,
      connected: state.connected,
      since: new Date(state.sinceMs).toISOString(),
      refused: state.refused,
      inSync: state.inSync,
      lagMs: state.lagMs ?? null,
      clockAheadMs: state.clockAheadMs ?? null,
      error: state.error ?? null,
      positions: positionTexts(state.positions),
      troubles: state.troubles.map(({ database, ...trouble }) => ({
        name: nameText(database),
        ...trouble,
      })),
    };
  }

  warnings(): string[] {
    const disconnected = this.#away();
    return [...(disconnected ? [disconnected] : []), ...this.stale(), ...this.#sightings.texts()];
  }

  /** Which databases here get old though the node is connected, and why. */
  stale(): string[] {
    return this.#upstreamTroubles().map(troubleText);
  }

  /** How many nodes follow this one. */
  get followers(): number {
    return this.#server.followers;
  }

  /** How this node gets on with the one that it follows; undefined when it follows none. */
  following(): Following | undefined {
    const target = this.#parts.config.replication.primary;
    if (!this.#client || !target) return undefined;
    const { server, inSync, lagMs } = this.#client.state();
    const name = server?.hostname ?? `${target.host}:${target.port}`;
    return { name, away: this.#away(), inSync, lagMs };
  }

  /** Why it is not connected; undefined when it is, or follows nobody. */
  #away(): string | undefined {
    const target = this.#parts.config.replication.primary;
    if (!this.#client || !target) return undefined;
    const { connected, refused, error = null } = this.#client.state();
    const address = `${target.host}:${target.port}`;
    return whyDisconnected({ connected, refused, address, error });
  }

  #upstreamTroubles(): readonly Trouble[] {
    return this.#client?.state().troubles ?? [];
  }

  #ownTroubles(): Trouble[] {
    const { identity, engine } = this.#parts;
    return [...engine.client.statuses()].flatMap(([database, status]) =>
      status.state === 'degraded'
        ? [{ database, hostname: identity.hostname, reason: status.reason }]
        : [],
    );
  }

  #local() {
    const { identity } = this.#parts;
    const { nodeId, clusterId, term, role, hostname, advertiseUrl } = identity;
    const isEmpty = identity.boundTo === '';
    return { nodeId, clusterId, term, role, hostname, advertiseUrl, isEmpty };
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
        if (!verdict) this.#sightings.gone('probe');
        else if (this.#sightings.saw('probe', verdict.text)) {
          log.error({ code: verdict.code }, verdict.text);
        }
      })
      .catch((error) => log.debug({ err: error }, 'nobody answers where the primary should be'));
  }
}
