/**
 * What is said between the engine thread and the others. Plain values only: they are cloned.
 *
 * main → engine: `EngineRequest`, answered by a `reply` with the same id.
 * fuse → engine: `MountMessage`, one way; deferred operations are resumed through the file system itself.
 * engine → main: `EngineNews`.
 */
import type { ErrorCode } from '../errors.ts';
import type { DeferredOperation, TreeEvent } from '../fuse/policy.ts';
import type { Position } from '../ltx/position.ts';
import type { LogEntry } from '../store/log-entry.ts';
import type { DatabaseOwnership, OwnershipOverride } from '../store/ownership.ts';
import type { LogLevel, Role } from './core/context.ts';
import type { DatabaseStatus } from './core/database.ts';
import type { VerifyResult } from './read/verify.ts';
import type { VerifyPart } from './read/verify-part.ts';

export interface EngineOptions {
  readonly dataDir: string;
  readonly mountDir: string;
  readonly nodeId: string;
  readonly role: Role;
  /** In which the node last served. */
  readonly formerRole: Role;
  readonly compress: boolean;
  readonly strictVerify: boolean;
  /** In which each page is compared with its checksum once, ms; 0 for never. */
  readonly verifyPeriodMs: number;
  readonly retentionMs: number;
  readonly retentionCheckMs: number;
  readonly logBytesMax: number;
  /** Patterns of databases to replicate; undefined for all. */
  readonly databases: readonly string[] | undefined;
  readonly ownershipOverride: OwnershipOverride;
  /** Wakes the engine: written to by whoever sends it a message. */
  readonly eventFd: number;
  /** Shared with the mount thread, see mount/shared-state.ts. */
  readonly shared: SharedArrayBuffer;
}

/** One database, for status. */
export interface DatabaseInfo {
  readonly name: string;
  readonly position: Position;
  readonly pageSize: number;
  readonly pageCount: number;
  readonly journalMode: 'wal' | 'rollback';
  readonly status: DatabaseStatus;
  /** Since when that is its state; 0 when it was never another. */
  readonly statusSinceMs: number;
  /** When the background last found a page wrong that nothing had written, ms since 1970; 0 for never. */
  readonly faultMs: number;
  readonly walBytes: number;
  readonly logBytes: number;
  readonly logFiles: number;
  readonly logFirstTxid: number;
}

/** One database's counters since the start (tally.ts). */
export interface DatabaseTally {
  readonly name: string;
  readonly commits: number;
  readonly pages: number;
  readonly checksumFailures: number;
  readonly faults: number;
  readonly resyncs: number;
  readonly capture: LatencyCounts;
  readonly apply: LatencyCounts;
}

export interface LatencyCounts {
  readonly counts: readonly number[];
  readonly sumS: number;
}

/** Who needs what is in the logs: connected replicas, and the archives of this node. */
export type Pinner = 'replicas' | 'snapshots';

export interface WireEntry extends LogEntry {
  readonly pageSize: number;
  /** Size of the database in pages after it; 0 for a drop. */
  readonly commit: number;
}

/** What is committed in it may be more than its position has. */
export interface Uncaptured {
  readonly database: string;
  readonly reason: string;
}

/** Requests and their results, by kind. */
export interface EngineCalls {
  /** The mount is there: open what is in it and begin. */
  attach: { args: Record<never, never>; result: null };
  /** Capture what is committed now; all databases when none is named. Returns those of which that cannot be told. */
  flush: { args: { database?: string }; result: readonly Uncaptured[] };
  /** Close all that is open in the mount; nothing is captured afterwards. */
  detach: { args: Record<never, never>; result: null };
  /** After detach: writes the markers of a clean stop and ends the thread. `isUnused`: no process has a file of the mount open. */
  stop: { args: { isUnused: boolean }; result: null };
  info: { args: Record<never, never>; result: readonly DatabaseInfo[] };
  /** What is counted of each database, for metrics. */
  tallies: { args: Record<never, never>; result: readonly DatabaseTally[] };
  /** On a replica: reads all pages. `recall`: a transaction of which the checksum after it is wanted. */
  verify: {
    args: { database: string; recall: number | undefined };
    result: VerifyResult & { readonly recalled: bigint | undefined };
  };
  /** On a primary: reads some pages, from this one on. Throws DATABASE_NOT_FOUND, DATABASE_BUSY, WRONG_STATE. */
  verifyPart: { args: { database: string; from: number }; result: VerifyPart };
  readLog: {
    args: { database: string; after: Position; maxBytes: number };
    result:
      | {
          readonly kind: 'entries';
          readonly entries: readonly WireEntry[];
          readonly logBytes: number;
          readonly databaseBytes: number;
        }
      | { readonly kind: 'unavailable'; readonly reason: string };
  };
  cutBegin: {
    args: { database: string; theirs: { pageSize: number; checksums: Uint8Array } | undefined };
    result: { cut: number; position: Position; pageSize: number; pageCount: number };
  };
  /** Into shared memory, from its beginning: nothing is allocated or copied between threads. */
  cutInto: {
    args: { cut: number; into: SharedArrayBuffer };
    result: { readonly bytes: number } | { readonly end: Position };
  };
  cutClose: { args: { cut: number }; result: null };
  apply: {
    args: { database: string; source: { bytes: Uint8Array } | { path: string } };
    result: Position;
  };
  /** 0 when there is no such database. */
  pageCount: {
    args: { database: string };
    result: number;
  };
  pageChecksums: {
    args: { database: string };
    result: { pageSize: number; checksums: Uint8Array } | undefined;
  };
  resyncBegin: {
    args: {
      database: string;
      position: Position;
      pageSize: number;
      pageCount: number;
      diverged: boolean;
    };
    result: { resync: number };
  };
  /** The first `bytes` of shared memory, which is not written until there is an answer. */
  resyncPages: {
    args: { resync: number; records: SharedArrayBuffer; bytes: number };
    result: null;
  };
  resyncEntry: {
    args: { resync: number; source: { bytes: Uint8Array } | { path: string } };
    result: null;
  };
  resyncFinish: { args: { resync: number; position: Position }; result: null };
  resyncAbort: { args: { resync: number }; result: null };
  drop: { args: { database: string; diverged: boolean }; result: null };
  /** On a replica: to whom it belongs on the primary. Throws NOT_A_FILE, DISK. */
  own: { args: { database: string; ownership: DatabaseOwnership }; result: null };
  /** On the primary: takes the write lock of a database for another node. Throws DATABASE_BUSY. */
  haltLend: { args: { database: string; waitMs: number }; result: Position };
  /** A transaction of the node that it is held for. Throws WRONG_STATE once it is no longer held. */
  haltCommit: {
    args: { database: string; source: { bytes: Uint8Array } | { path: string } };
    result: Position;
  };
  haltReturn: { args: { database: string }; result: null };
  /** Reads a file that the database is to become. Throws DATABASE_CORRUPT, WRONG_STATE. */
  rewriteBegin: { args: { database: string; image: string }; result: { rewrite: number } };
  /** One transaction of the pages that differ, while the database is lent. */
  rewriteFinish: { args: { rewrite: number }; result: Position };
  rewriteClose: { args: { rewrite: number }; result: null };
  /** On a replica that is at this position, and for which the primary holds its lock: lets apps write. */
  haltBegin: { args: { database: string; position: Position }; result: null };
  /** What has become of the commit that the news of that number told of. */
  haltAnswer: { args: { database: string; commit: number; error?: string }; result: null };
  /** Nothing more is committed here. Answered when nobody is in a transaction any more, or soon. */
  haltEnd: { args: { database: string; reason: string }; result: null };
  /** What is still needed of the logs, by database: entries past these TXIDs stay. */
  pin: { args: { by: Pinner; txids: ReadonlyMap<string, number> }; result: null };
}

export type EngineRequest = {
  [K in keyof EngineCalls]: {
    readonly id: number;
    readonly call: K;
    readonly args: EngineCalls[K]['args'];
  };
}[keyof EngineCalls];

export type MountMessage =
  | { readonly kind: 'deferred'; readonly operation: DeferredOperation }
  | { readonly kind: 'event'; readonly event: TreeEvent };

export interface WireError {
  readonly code: ErrorCode | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  readonly stack: string | undefined;
}

export type EngineNews =
  /** The recovery gets on: it is at this database. The thread passes on one a second. */
  | { readonly kind: 'recovering'; readonly database: string }
  | {
      readonly kind: 'recovered';
      readonly databases: readonly { name: string; position: Position }[];
      /** Names of those in quarantine that replicas are to keep. */
      readonly aside: readonly string[];
    }
  | {
      readonly kind: 'reply';
      readonly id: number;
      readonly error?: WireError;
      readonly result?: unknown;
    }
  | { readonly kind: 'entry'; readonly entry: WireEntry }
  | { readonly kind: 'position'; readonly database: string; readonly position: Position }
  | {
      readonly kind: 'ownership';
      readonly database: string;
      readonly ownership: DatabaseOwnership;
    }
  /** `isInLog`: it is the newest entry there, and what is made under the name next follows it. */
  | { readonly kind: 'dropped'; readonly database: string; readonly isInLog: boolean }
  | { readonly kind: 'status'; readonly database: string; readonly status: DatabaseStatus }
  | {
      readonly kind: 'log';
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: Record<string, unknown>;
    }
  /** An app wants to commit under the halt lock, and waits: the primary is to be asked. */
  | {
      readonly kind: 'commit';
      readonly database: string;
      readonly commit: number;
      readonly source: { readonly bytes: Uint8Array } | { readonly path: string };
    }
  /** Have the -wal and -shm of this database made, which no connection has made yet. */
  | { readonly kind: 'make-wal'; readonly database: string }
  /** Have this file of the mount looked up, so that the kernel knows its name. */
  | { readonly kind: 'look-up'; readonly name: string }
  | { readonly kind: 'fatal'; readonly error: WireError };
