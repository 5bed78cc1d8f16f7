/** What both ends of replication get from outside. */
import type { PeerFacts } from '../lease/judge.ts';

/** The node, as it is now: read anew for each connection. */
export interface LocalNode extends PeerFacts {
  readonly advertiseUrl: string | undefined;
}

/** What a node tells those who follow it of the primary, which it may be itself. */
export interface Upstream {
  readonly hostname: string;
  /** Of its proxy, as in Hello. */
  readonly proxy: string;
  /** How far behind it this node is, ms. */
  readonly lagMs: number;
}

export interface ReplicationLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface Clock {
  /** ms since 1970. */
  wallMs(): number;
  /** Monotonic ms. */
  monotonicMs(): number;
}

/** A peer that is silent for this long is taken for dead. */
export const SILENCE_MS_MAX = 10_000;
export const HEARTBEAT_MS = 1000;
