/** What both ends of replication get from outside. */
import type { PeerFacts } from '../lease/judge.ts';
import type { Position } from '../ltx/position.ts';
import { nameText } from '../store/layout.ts';
import type { ReceivedEntry } from './store.ts';

/** The node, as it is now: read anew for each connection. */
export interface LocalNode extends PeerFacts {
  readonly advertiseUrl: string | undefined;
}

/** A database that a node does not replicate at present: what others have of it gets old. */
export interface Trouble {
  readonly database: string;
  /** Of that node. */
  readonly hostname: string;
  readonly reason: string;
}

/** In plain words. */
export function troubleText({ database, hostname, reason }: Trouble): string {
  return `${nameText(database)}: ${hostname} does not replicate it at present: ${reason}`;
}

/** What a node tells those who follow it of the primary, which it may be itself. */
export interface Upstream {
  readonly hostname: string;
  /** Of its proxy, as in Hello. */
  readonly proxy: string;
  /** Whether this node has had, since it started, everything that the primary has: what it lacks is gone, not to come. */
  readonly knowsAll: boolean;
  /** Why it is not connected to the node that it follows itself; '' when it is. */
  readonly away: string;
  /** How far behind it this node is, ms. */
  readonly lagMs: number;
  /** Here, and at the nodes that it comes from. */
  readonly troubles: readonly Trouble[];
}

/** What a node does for a replica that wants to write a database: see daemon/halts.ts. */
export interface HaltHost {
  /** Takes the write lock for it; resolves with the position. Rejects with WRONG_STATE, DATABASE_BUSY, DATABASE_NOT_FOUND. */
  lend(database: string, id: number, holder: string, waitMs: number): Promise<Position>;
  /** Commits a transaction of the holder. The source is the caller's again when it settles. */
  commit(id: number, entry: ReceivedEntry): Promise<Position>;
  /** Gives the lock back once what is being committed is done. */
  takeBack(database: string, id: number): void;
}

/** What a node has found when it had read all pages of a database of its own. */
export interface OwnPages {
  /** Where the database stood at the end; each page was compared with what the history has for it when it was read. */
  readonly position: Position;
  /** How many were read. */
  readonly pages: number;
  /** The first few that are not what they should be. */
  readonly badPages: readonly number[];
  /** What is wrong; '' when nothing is. */
  readonly reason: string;
}

/** What a node does for a replica that verifies: see daemon/verification.ts. */
export interface VerifyHost {
  /** Has the primary, which the node may be itself, read its pages. Rejects with why that cannot be told. */
  primaryPages(database: string): Promise<OwnPages>;
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

/** What is known of a connected replica. */
export interface ReplicaInfo {
  readonly nodeId: string;
  readonly hostname: string;
  /** Of its program; '' when it does not say it. */
  readonly release: string;
  readonly address: string;
  readonly connectedAtMs: number;
  /** For how long it has not had everything, ms; 0 when it has. */
  readonly behindMs: number;
  /** Applied, by database. */
  readonly positions: ReadonlyMap<string, Position>;
  /** Whether it follows a database of that name. */
  readonly wants: (database: string) => boolean;
}
