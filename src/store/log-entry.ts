/** An entry of the log as it travels: between threads, and to replicas. */
import type { Position } from '../ltx/position.ts';

/** Where the bytes of one LTX file are: in memory when small, else a range of a file of the log. */
export type LtxSource =
  | { readonly bytes: Uint8Array }
  | { readonly path: string; readonly offset: number; readonly length: number };

/** One entry of the log: the transactions minTxid..maxTxid as one LTX file. */
export interface LogEntry {
  readonly database: string;
  readonly minTxid: number;
  readonly maxTxid: number;
  /** The position before minTxid. */
  readonly pre: Position;
  /** The position after maxTxid. */
  readonly post: Position;
  /** ms since 1970, the primary's clock, at capture. */
  readonly timestampMs: number;
  readonly source: LtxSource;
}
