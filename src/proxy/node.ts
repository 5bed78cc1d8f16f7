/** What the proxy needs of the node. The daemon has it; tests make one. Databases are named as in the config. */
import type { Txids } from './cookie.ts';
import type { NodeFacts } from './decide.ts';

export interface ProxyNode {
  /** As it is now. */
  facts(): NodeFacts;
  /** ms behind the primary: 0 on the primary, undefined before the first sync. */
  lagMs(): number | undefined;
  /** Captures what is committed now. Resolves with where the databases are then. */
  flush(): Promise<Txids>;
  /** Resolves when all databases are that far, or with false at the end of `signal`. */
  waitForTxids(txids: Txids, signal: AbortSignal): Promise<boolean>;
  /** Resolves when the primary's proxy is known, or with false at the end of `signal`. */
  waitForPrimary(signal: AbortSignal): Promise<boolean>;
  /** Why the node is not well, in plain words; empty when it is. */
  troubles(): readonly string[];
}
