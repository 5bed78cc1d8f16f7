/** What the parts of the engine get from outside: settings, clock, and where news goes. */
import type { Accounts } from '../../os/accounts.ts';
import type { Layout } from '../../store/layout.ts';
import type { StoredEntry } from '../../store/log-files.ts';
import type { OwnershipOverride } from '../../store/ownership.ts';
import type { TreeDoor } from '../../store/tree-door.ts';
import type { Database, DatabaseStatus } from './database.ts';

/** What a node serves as. */
export type Role = 'primary' | 'replica';

/**
 * done: everything committed is captured; writing: somebody is at it; again: what was read was no one state, and another look
 * tells; busy: what keeps us from reading it may stay, such as a lock; damaged: the file is no database any more, or not yet a
 * whole one.
 */
export type CaptureOutcome = 'done' | 'writing' | 'again' | 'busy' | 'damaged';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface EngineContext {
  readonly layout: Layout;
  /** The backing tree. */
  readonly tree: TreeDoor;
  readonly nodeId: bigint;
  /** Whether pages are LZ4-compressed in LTX files. */
  readonly compress: boolean;
  /** Whether the checksum of the whole database is recomputed after each transaction. */
  readonly strictVerify: boolean;
  /** Users and groups of this machine. */
  readonly accounts: Accounts;
  /** On a replica: to whom databases belong whatever the primary says. */
  readonly ownershipOverride: OwnershipOverride;
  /** ms since 1970. */
  wallClockMs(): number;
  /** Monotonic ms. */
  clockMs(): number;
  random32(): number;
  /** Whether the mount is being left: nothing may be opened in it any more. */
  isDetached(): boolean;
  /** Has all events told that have happened until now. */
  drainEvents(): void;
  /** A captured or applied entry; `bytes` when it is small. */
  emitEntry(database: Database, entry: StoredEntry, bytes: Uint8Array | undefined): void;
  /** The position moved without an entry: after a resync, or at start. */
  emitPosition(database: Database): void;
  /** Its ownership is known, or another than before. */
  emitOwnership(database: Database): void;
  /** The recovery of a database gets on. */
  recovering?(database: Database): void;
  /** How the database is, for the outside. */
  setStatus(database: Database, status: DatabaseStatus): void;
  log(level: LogLevel, message: string, fields?: Record<string, unknown>): void;
}
