/** What snapshots need of the databases of this node; the engine's client has it. */
import type { Position } from '../ltx/position.ts';
import type { EntrySource } from './tasks.ts';

/** One LTX file of the node's log. */
export interface SourceEntry {
  readonly maxTxid: number;
  /** The position after it. */
  readonly post: Position;
  readonly source: EntrySource;
}

export type SourceRead =
  | { readonly kind: 'entries'; readonly entries: readonly SourceEntry[] }
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface SourceCut {
  readonly position: Position;
  readonly pageSize: number;
  readonly pageCount: number;
  /** Records of u32 big-endian page number and page, ascending; pages changed meanwhile are left out. */
  next(maxBytes: number): Promise<Uint8Array | undefined>;
  /** Known when next() has said undefined. */
  readonly end: Position | undefined;
  close(): void;
}

export interface SnapshotSource {
  positions(): ReadonlyMap<string, Position>;
  onEntry(listener: (entry: { readonly database: string }) => void): () => void;
  /** What follows a position, at most about `maxBytes`; the first may begin before it. */
  readLog(database: string, after: Position, maxBytes: number): Promise<SourceRead>;
  cutPages(database: string, theirs: undefined): Promise<SourceCut>;
}
