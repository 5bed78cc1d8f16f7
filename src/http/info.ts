/** What the HTTP API tells of a node: the JSON of GET /info and GET /verify. */

export interface DatabaseReport {
  readonly name: string;
  /** `<txid>/<checksum>`, 16 hex digits each. */
  readonly position: string;
  readonly pageSize: number;
  readonly pages: number;
  readonly journalMode: 'wal' | 'rollback';
  /** ok, or syncing or degraded with a reason. */
  readonly state: 'ok' | 'syncing' | 'degraded';
  readonly reason?: string;
  /** Since when it is not ok. */
  readonly since?: string;
  /** Who has its halt lock: the only node whose applications may write it. null: nobody. */
  readonly haltHolder: string | null;
  readonly walBytes: number;
  readonly log: { readonly bytes: number; readonly files: number; readonly firstTxid: string };
}

export interface ReplicaReport {
  readonly nodeId: string;
  readonly hostname: string;
  /** Of its program; '' when it does not say it. */
  readonly version: string;
  readonly address: string;
  readonly connectedAt: string;
  /** For how long it has not had everything, ms; 0 when it has. */
  readonly behindMs: number;
  /** Positions it has applied, by database. */
  readonly positions: Record<string, string>;
}

/** A node that has followed this one since it started, and does not now. */
export interface AbsentReport {
  readonly nodeId: string;
  readonly hostname: string;
  readonly address: string;
  readonly goneAt: string;
  /** For how long it has not had everything, ms; 0 when nothing was committed since. */
  readonly behindMs: number;
  /** Positions it had applied, by database. */
  readonly positions: Record<string, string>;
}

export interface UpstreamReport {
  readonly address: string;
  readonly hostname: string | null;
  /** Of its program; null before it was met, '' when it does not say it. */
  readonly version: string | null;
  readonly connected: boolean;
  /** When it connected, or was no longer connected. */
  readonly since: string;
  /** It does not let this node follow it, or must not be followed: `error` says why. */
  readonly refused: boolean;
  readonly inSync: boolean;
  /** ms; null before the first sync. */
  readonly lagMs: number | null;
  /** Its clock less ours when its last heartbeat came, ms; null before the first. */
  readonly clockAheadMs: number | null;
  readonly error: string | null;
  /** The primary's positions, as last heard. */
  readonly positions: Record<string, string>;
  /** Databases that are not replicated at present there, or where that node has them from: what is here gets old. */
  readonly troubles: readonly TroubleReport[];
}

export interface TroubleReport {
  /** Of the database. */
  readonly name: string;
  /** Of the node that does not replicate it. */
  readonly hostname: string;
  readonly reason: string;
}

/** Of the reports above. A database may be called `constructor` or `__proto__`, and every object has something by that name. */
export function positionIn(
  positions: Readonly<Record<string, string>>,
  database: string,
): string | undefined {
  return Object.hasOwn(positions, database) ? positions[database] : undefined;
}

/** In plain words; undefined when it is connected. */
export function whyDisconnected({
  connected,
  refused,
  address,
  error,
}: Pick<UpstreamReport, 'connected' | 'refused' | 'address' | 'error'>): string | undefined {
  if (connected) return undefined;
  return refused
    ? `refused by ${address}: ${error}`
    : `not connected to ${address}: ${error ?? 'connecting'}`;
}

/** The first five fields are LiteFS's. */
export interface NodeReport {
  /** '' as long as the node has had no database. */
  readonly clusterID: string;
  readonly isPrimary: boolean;
  readonly candidate: boolean;
  /** The mount point. */
  readonly path: string;
  readonly primary: { readonly hostname: string | null };
  readonly version: string;
  readonly nodeID: string;
  readonly hostname: string;
  /** Of the daemon. */
  readonly pid: number;
  readonly role: 'primary' | 'replica';
  readonly term: number;
  /** Whether the kernel serves files by itself. */
  readonly passthrough: boolean;
  readonly databases: readonly DatabaseReport[];
  /** The nodes that follow this one. */
  readonly replicas: readonly ReplicaReport[];
  /** Those that did and are gone, for a week or until this node starts anew. */
  readonly absent: readonly AbsentReport[];
  /** On a replica: the node it follows. */
  readonly upstream: UpstreamReport | null;
  /** What an administrator should know, in plain words. */
  readonly warnings: readonly string[];
}

/** What a node has found in its own pages of a database. */
export interface PagesReport {
  readonly position: string;
  /** How many were read. */
  readonly pages: number;
  readonly ok: boolean;
  /** The first few. */
  readonly badPages: readonly number[];
  /** When it is not ok. */
  readonly reason?: string;
}

export interface VerifyReport extends PagesReport {
  readonly name: string;
  /** On a replica: what its primary has found. null on a primary, and when that is not known. */
  readonly primary:
    | (PagesReport & {
        /** Of this node after the transaction of `position`; null when it is not known. */
        readonly checksumHere: string | null;
      })
    | null;
  /** On a replica: by what both have read. null: it cannot be told, or this is the primary. */
  readonly sameAsPrimary: boolean | null;
  /** On a replica: why it cannot be told; null when it can. */
  readonly notCompared: string | null;
}

/** A halt lock, as LiteFS has it. */
export interface HaltReport {
  readonly id: number;
  /** Where the database stands. */
  readonly pos: { readonly txid: string; readonly postApplyChecksum: string };
  /** When it ends unless it is asked for again. */
  readonly expires: string;
}

/** The answer to POST /import. */
export interface ImportReport {
  readonly name: string;
  readonly bytes: number;
  /** Of the database after it. */
  readonly position: string;
}

/** The answer to POST /restore. */
export interface RestoreReport {
  readonly name: string;
  /** Of the database after it. */
  readonly position: string;
  /** The transaction before it, which the archive has. */
  readonly undoTxid: string;
  /** Where this node has its archives. */
  readonly dir: string | null;
}

/** The body of every answer that is not 200. */
export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** The body of GET /healthz: 200 when `status` is ok, else 503. */
export interface HealthReport {
  readonly status: 'ok' | 'unhealthy';
  /** Why not, in plain words; empty when it is. */
  readonly reasons: readonly string[];
}
