/** What snapshots need of the databases of this node; the engine's client has it. */
import type { Position } from '../ltx/position.ts';
import type { LtxSource } from '../store/log-entry.ts';

/** One LTX file of the node's log. */
export interface SourceEntry {
  readonly maxTxid: number;
  /** The position after it. */
  readonly post: Position;
  readonly source: LtxSource;
}

export type SourceRead =
  | { readonly kind: 'entries'; readonly entries: readonly SourceEntry[] }
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface SourceCut {
  readonly position: Position;
  readonly pageSize: number;
  readonly pageCount: number;
  /**
   * Fills shared memory with records of u32 big-endian page number and page, ascending; pages changed meanwhile are
   * left out. Resolves with how many bytes it has, 0 at the end.
   */
  nextInto(into: SharedArrayBuffer): Promise<number>;
  /** Known when nextInto() has said 0. */
  readonly end: Position | undefined;
  close(): void;
}

export interface SnapshotSource {
  positions(): ReadonlyMap<string, Position>;
  onEntry(listener: (entry: { readonly database: string }) => void): () => void;
  /** What follows a position, at most about `maxBytes`; the first may begin before it. */
  readLog(database: string, after: Position, maxBytes: number): Promise<SourceRead>;
  /** Has the log keep what follows these transactions, as far as its own bounds go; nothing else any more. */
  pin(by: 'snapshots', txids: ReadonlyMap<string, number>): void;
  cutPages(database: string, theirs: undefined): Promise<SourceCut>;
}
