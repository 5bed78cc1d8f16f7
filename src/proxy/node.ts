/** What the proxy needs of the node. The daemon has it; tests make one. Databases are named as in the config. */
import type { Txids } from './cookie.ts';
import type { NodeFacts } from './decide.ts';

/** Where the databases are after a capture. */
export interface Flushed {
  readonly txids: Txids;
  /** false: a number may be of a transaction that comes next. */
  readonly isCertain: boolean;
}

export interface ProxyNode {
  /** As it is now. */
  facts(): NodeFacts;
  /** ms behind the primary: 0 on the primary, undefined before the first sync. */
  lagMs(): number | undefined;
  /** Captures what is committed now. Resolves with where the databases are then. */
  flush(): Promise<Flushed>;
  /** Resolves when all databases are that far, or with false at the end of `signal`. */
  waitForTxids(txids: Txids, signal: AbortSignal): Promise<boolean>;
  /** Resolves when the primary's proxy is known, or with false at the end of `signal`. */
  waitForPrimary(signal: AbortSignal): Promise<boolean>;
  /** Why the node is not well, in plain words; empty when it is. */
  troubles(): readonly string[];
  /** The cluster and its term: 16 hex digits, '' before a replica has met its primary. */
  membership(): { readonly clusterId: string; readonly term: number };
  /** Whether another node of this cluster is connected from that address. */
  isPeer(address: string): boolean;
  /** Tells the operator, who need not hear the same again and again. */
  warn(text: string): void;
}
