/** The proxy in the daemon: what it asks of the node, from the engine and replication. */
import type { ProxyConfig } from '../config/proxy.ts';
import type { EngineClient } from '../engine/client.ts';
import type { NodeIdentity } from '../lease/node-identity.ts';
import type { Logger } from '../log.ts';
import type { Txids } from '../proxy/cookie.ts';
import type { NodeFacts } from '../proxy/decide.ts';
import type { ProxyNode } from '../proxy/node.ts';
import { type Answered, type RunningProxy, startProxy } from '../proxy/server.ts';
import type { Replication } from './replication.ts';

export interface ProxyParts {
  readonly config: ProxyConfig;
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
  const { config, log } = parts;
  return startProxy(new DaemonNode(parts), config, (request) => {
    parts.answered(request);
    const { method, path, status, ms, kind, way, error } = request;
    if (error) log.error({ err: error, method, path }, `the proxy failed at ${method} ${path}`);
    if (config.debug)
      log.info({ method, path, status, ms, kind, way }, `${method} ${path} ${status}`);
  });
}

/** The databases of which it cannot be told whether all that is committed is captured. */
type Uncertain = ReadonlySet<string>;

class DaemonNode implements ProxyNode {
  readonly #parts: ProxyParts;
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
    };
  }

  lagMs(): number | undefined {
    return this.#parts.replication.lagMs;
  }

  async flush(): Promise<Txids> {
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
    if (uncertain.size === 0) return txids;
    // What this write has committed, if anything, is in the next transaction: it is not read without that.
    const isOpen = (name: string) => uncertain.has(bytesOf(name));
    return new Map([...txids].map(([name, txid]) => [name, isOpen(name) ? txid + 1 : txid]));
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

  #txids(): Txids {
    if (this.#known) return this.#known;
    const { engine, config } = this.#parts;
    const positions = engine.positions();
    const txids = new Map<string, number>();
    for (const database of config.databases) {
      const position = positions.get(bytesOf(database));
      if (position) txids.set(database, position.txid);
    }
    this.#known = txids;
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
