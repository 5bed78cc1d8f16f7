/**
 * What replication needs of the databases of this node. The engine's client implements it (see
 * src/engine/client.ts); tests implement it in memory. All methods are asynchronous towards the
 * engine thread; positions seen here may trail it by a message.
 */
import type { Position } from '../ltx/position.ts';
import type { LogEntry } from '../store/log-entry.ts';
import type { DatabaseOwnership } from '../store/ownership.ts';

export type LogRead =
  /**
   * Entries that follow the position, oldest first; empty when it is the newest. The first may begin
   * before it (a compacted entry that covers it). `logBytes` of all entries of the log, `databaseBytes` of all pages.
   */
  | {
      readonly kind: 'entries';
      readonly entries: readonly LogEntry[];
      readonly logBytes: number;
      readonly databaseBytes: number;
    }
  /** The log does not reach back that far, or never contained that position. */
  | { readonly kind: 'unavailable'; readonly reason: string };

/** A running cut of a database's pages: the state at `position` when it began. */
export interface PageCut {
  readonly position: Position;
  readonly pageSize: number;
  /** Size in pages at `position`. */
  readonly pageCount: number;
  /**
   * Fills memory of at least one record with the next pages that differ: records of u32 big-endian page number
   * and the page. Pages that change while the cut runs are left out: the log entries that follow `position`
   * carry them. Resolves with how many bytes there are, 0 at the end: everything committed until then has
   * been emitted as log entries before that.
   */
  nextInto(into: SharedArrayBuffer): Promise<number>;
  /** Position at which the cut ended: only after nextInto() said 0. */
  readonly end: Position | undefined;
  close(): void;
}

/** What a replica is building when it cannot follow the log: base pages, then log entries, then the end. */
export interface Resync {
  /**
   * Whole records, in pieces that are cut anywhere. One call at a time; the pieces are the caller's again when it
   * resolves.
   */
  pages(records: readonly Uint8Array[]): Promise<void>;
  entry(entry: ReceivedEntry): Promise<void>;
  /** Makes all of it visible at once, checked against `position`. Rejects with CHECKSUM_MISMATCH. */
  finish(position: Position): Promise<void>;
  /** Throws away what was received; the database stays as it was. */
  abort(): Promise<void>;
}

/** An entry as a replica received it: complete, its file checksum not yet verified. */
export interface ReceivedEntry {
  readonly database: string;
  /** Bytes, or a spool file of its own, which the store takes over (and removes or keeps). */
  readonly source: { readonly bytes: Uint8Array } | { readonly path: string };
}

export interface PeerChecksums {
  readonly pageSize: number;
  readonly checksums: Uint8Array;
}

export interface ReplicationStore {
  /** Databases and their positions now. A dropped database is not in it. */
  positions(): ReadonlyMap<string, Position>;
  /** Databases whose newest entry is their drop, and where they are behind it: what is made under the name next follows that. */
  ended(): ReadonlyMap<string, Position>;
  /** Another number than before when positions() may have changed. */
  readonly revision: number;
  /** Whether it is not in positions() because its files could not be understood: replicas keep what they have of it. */
  isAside(database: string): boolean;

  /** To whom a database belongs on the primary; undefined when that is not known. */
  ownership(database: string): DatabaseOwnership | undefined;
  /** Calls back when it is known, or another; of a new database before its first entry. Returns the undo. */
  onOwnership(listener: (database: string) => void): () => void;
  /** Gives a database, or the next of that name, to whom it belongs on the primary. Rejects with NOT_A_FILE, DISK. */
  own(database: string, ownership: DatabaseOwnership): Promise<void>;

  /** Calls back for each captured (or, on a replica, applied) entry, in order per database. Returns the undo. */
  onEntry(listener: (entry: LogEntry) => void): () => void;
  /**
   * Calls back when a database was dropped. `isInLog`: the newest entry says so, and was told before. Returns the undo.
   */
  onDrop(listener: (database: string, isInLog: boolean) => void): () => void;

  /** What follows `after` in the log, at most about `maxBytes` (at least one entry). */
  readLog(database: string, after: Position, maxBytes: number): Promise<LogRead>;
  /** How many pages a database has; 0 when there is none. */
  pageCount(database: string): Promise<number>;
  /**
   * Begins a cut. `theirs`: the page checksums of the peer (u64 big-endian each, page 1 first); they are of use
   * when its pages are of the same size, else all pages are cut.
   */
  cutPages(database: string, theirs: PeerChecksums | undefined): Promise<PageCut>;

  /** Applies an entry that follows our position. Rejects with CHECKSUM_MISMATCH, LTX_CORRUPT, DISK. */
  apply(entry: ReceivedEntry): Promise<Position>;
  /** The page checksums we have (u64 big-endian each), for a resync. */
  pageChecksums(database: string): Promise<PeerChecksums | undefined>;
  /**
   * Begins a resync to a state of the primary. `mine` is kept as LTX under divergence/ first when
   * it is not part of the primary's history (`diverged`).
   */
  beginResync(
    database: string,
    base: { position: Position; pageSize: number; pageCount: number; diverged: boolean },
  ): Promise<Resync>;
  /** Removes a database that the primary dropped or does not have. Kept under divergence/ when `diverged`. */
  drop(database: string, options: { diverged: boolean }): Promise<void>;

  /** A directory for spool files, emptied at start. */
  readonly spoolDir: string;
}
