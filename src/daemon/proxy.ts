/** The proxy in the daemon: what it asks of the node, from the engine and replication. */
import { createHash } from 'node:crypto';
import type { ProxyConfig } from '../config/proxy.ts';
import type { EngineClient } from '../engine/client.ts';
import type { NodeIdentity } from '../lease/node-identity.ts';
import type { Logger } from '../log.ts';
import type { Position } from '../ltx/position.ts';
import { plainAddress } from '../os/addresses.ts';
import { descriptorLimit } from '../os/descriptor-limit.ts';
import type { Txids } from '../proxy/cookie.ts';
import type { NodeFacts, PrimaryWord } from '../proxy/decide.ts';
import type { Flushed, ProxyNode } from '../proxy/node.ts';
import { type Answered, type RunningProxy, startProxy } from '../proxy/server.ts';
import type { Replication } from './replication.ts';

export interface ProxyParts {
  readonly config: ProxyConfig;
  /** replication.secret. */
  readonly secret: string | undefined;
  readonly identity: NodeIdentity;
  readonly engine: EngineClient;
  readonly replication: Replication;
  /** Why the node is not well; empty when it is. */
  readonly troubles: () => readonly string[];
  readonly answered: (request: Answered) => void;
  readonly log: Logger;
}

/** Listens. Rejects with LISTEN. */
export function startNodeProxy(parts: ProxyParts): Promise<RunningProxy> {
  const { config, identity, secret, log } = parts;
  const settings = {
    ...config,
    secret,
    descriptorsMax: descriptorLimit(),
    // Tells nodes of one host apart, and nobody which one it is.
    pseudonym: `litefs-lite-${createHash('sha256').update(identity.nodeId).digest('hex').slice(0, 12)}`,
  };
  return startProxy(new DaemonNode(parts), settings, (request) => {
    parts.answered(request);
    const { method, path, status, ms, kind, way, error } = request;
    if (error) log.error({ err: error, method, path }, `the proxy failed at ${method} ${path}`);
    if (config.debug)
      log.info({ method, path, status, ms, kind, way }, `${method} ${path} ${status}`);
  });
}

/** Between two warnings of the same text. */
const WARN_AGAIN_MS = 60_000;

/** The databases of which it cannot be told whether all that is committed is captured. */
type Uncertain = ReadonlySet<string>;

class DaemonNode implements ProxyNode {
  readonly #parts: ProxyParts;
  readonly #warnedMs = new Map<string, number>();
  #known: Txids | undefined;
  #flushing: Promise<Uncertain> | undefined;
  #nextFlush: Promise<Uncertain> | undefined;

  constructor(parts: ProxyParts) {
    this.#parts = parts;
    parts.engine.onPosition(() => {
      this.#known = undefined;
    });
  }

  facts(): NodeFacts {
    const { identity, replication } = this.#parts;
    return {
      isPrimary: identity.role === 'primary',
      hostname: identity.hostname,
      primaryHostname: replication.primaryHostname,
      primaryUrl: replication.primaryProxyUrl,
      txids: this.#txids(),
      heard: () => this.#heard(),
    };
  }

  membership() {
    const { clusterId, term } = this.#parts.identity;
    return { clusterId, term };
  }

  isPeer(address: string): boolean {
    const hosts = this.#parts.replication.followerHosts();
    return hosts.some((host) => plainAddress(host) === address);
  }

  warn(text: string): void {
    const nowMs = performance.now();
    const lastMs = this.#warnedMs.get(text);
    if (lastMs !== undefined && nowMs - lastMs < WARN_AGAIN_MS) return;
    this.#warnedMs.set(text, nowMs);
    this.#parts.log.warn(text);
  }

  lagMs(): number | undefined {
    return this.#parts.replication.lagMs;
  }

  async flush(): Promise<Flushed> {
    let uncertain: Uncertain;
    if (!this.#flushing) uncertain = await this.#startFlush();
    else {
      // One that is under way may have begun before this write; the next one covers all who wait for it.
      const next = () => {
        this.#nextFlush = undefined;
        return this.#startFlush();
      };
      // What became of that one is for those who wait for it.
      this.#nextFlush ??= this.#flushing.then(next, next);
      uncertain = await this.#nextFlush;
    }
    const txids = this.#txids();
    if (uncertain.size === 0) return { txids, isCertain: true };
    // What this write has committed, if anything, is in the next transaction: it is not read without that.
    const isOpen = (name: string) => uncertain.has(bytesOf(name));
    const next = [...txids].map(([name, txid]) => [name, isOpen(name) ? txid + 1 : txid] as const);
    return { txids: new Map(next), isCertain: false };
  }

  #startFlush(): Promise<Uncertain> {
    const done = this.#flush().finally(() => {
      if (this.#flushing === done) this.#flushing = undefined;
    });
    this.#flushing = done;
    return done;
  }

  async #flush(): Promise<Uncertain> {
    const { engine, config } = this.#parts;
    const known = config.databases.map(bytesOf).filter((name) => engine.positions().has(name));
    const flushed = known.map((database) => engine.call('flush', { database }));
    const left = (await Promise.all(flushed)).flat();
    // One that was made by this very request is known only once its directory has been looked at.
    if (known.length < config.databases.length) left.push(...(await engine.call('flush', {})));
    return new Set(left.map(({ database }) => database));
  }

  waitForTxids(wanted: Txids, signal: AbortSignal): Promise<boolean> {
    const isThere = () => {
      const txids = this.#txids();
      return [...wanted].every(([name, txid]) => (txids.get(name) ?? 0) >= txid);
    };
    return waitUntil(isThere, (look) => this.#parts.engine.onPosition(look), signal);
  }

  waitForPrimary(signal: AbortSignal): Promise<boolean> {
    const { replication } = this.#parts;
    const isKnown = () => replication.primaryProxyUrl !== undefined;
    const subscribe = (look: () => void) => {
      replication.metListeners.add(look);
      return () => replication.metListeners.delete(look);
    };
    return waitUntil(isKnown, subscribe, signal);
  }

  troubles(): readonly string[] {
    return this.#parts.troubles();
  }

  #heard(): PrimaryWord {
    const { positions, primaryWord } = this.#parts.replication.heard();
    return { txids: this.#ofConfig(positions), said: primaryWord };
  }

  #txids(): Txids {
    this.#known ??= this.#ofConfig(this.#parts.engine.positions());
    return this.#known;
  }

  #ofConfig(positions: ReadonlyMap<string, Position>): Txids {
    const txids = new Map<string, number>();
    for (const database of this.#parts.config.databases) {
      const position = positions.get(bytesOf(database));
      if (position) txids.set(database, position.txid);
    }
    return txids;
  }
}

/** Resolves with true once the condition holds, looked at whenever `subscribe` calls back; with false at the signal. */
function waitUntil(
  condition: () => boolean,
  subscribe: (look: () => void) => () => void,
  signal: AbortSignal,
): Promise<boolean> {
  if (condition()) return Promise.resolve(true);
  return new Promise((resolve) => {
    const end = (result: boolean) => {
      undo();
      signal.removeEventListener('abort', onAbort);
      resolve(result);
    };
    const onAbort = () => end(false);
    const undo = subscribe(() => {
      if (condition()) end(true);
    });
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) end(false);
  });
}

/** Names are byte strings inside, text in the config. */
function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
