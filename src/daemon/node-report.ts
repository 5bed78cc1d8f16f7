/** What the node tells of itself over HTTP, gathered from its parts. */
import type { Config } from '../config/config.ts';
import type { EngineClient } from '../engine/client.ts';
import type { DatabaseInfo } from '../engine/protocol.ts';
import type { DatabaseReport, NodeReport } from '../http/info.ts';
import { nameText } from '../http/names.ts';
import type { NodeIdentity } from '../lease/node-identity.ts';
import { formatPosition, formatTxid, type Position } from '../ltx/position.ts';
import type { SharedState } from '../mount/shared-state.ts';
import { VERSION } from '../version.ts';
import type { Replication } from './replication.ts';
import type { Snapshots } from './snapshots.ts';

export interface ReporterParts {
  readonly config: Config;
  readonly identity: NodeIdentity;
  readonly engine: EngineClient;
  readonly shared: SharedState;
  readonly replication: Replication;
  readonly snapshots: Snapshots;
  readonly mountDir: string;
  /** For files that are on their way; emptied at start. */
  readonly spoolDir: string;
}

export class NodeReporter {
  readonly #parts: ReporterParts;
  /** Known when the mount is served. */
  passthrough = false;

  constructor(parts: ReporterParts) {
    this.#parts = parts;
  }

  async info(): Promise<NodeReport> {
    const { config, identity, engine, replication, snapshots, mountDir } = this.#parts;
    const databases = await engine.call('info', {});
    const isPrimary = identity.role === 'primary';
    return {
      clusterID: identity.boundTo,
      isPrimary,
      candidate: config.lease.candidate,
      path: mountDir,
      primary: { hostname: isPrimary ? identity.hostname : (replication.primaryHostname ?? null) },
      version: VERSION,
      nodeID: identity.nodeId,
      hostname: identity.hostname,
      pid: process.pid,
      role: identity.role,
      term: identity.term,
      passthrough: this.passthrough,
      databases: databases.map((db) => databaseReport(db, replication.halts.holder(db.name))),
      replicas: replication.replicas(),
      absent: replication.absent(),
      upstream: replication.upstream(),
      warnings: [
        ...replication.warnings(),
        ...snapshots.warnings(),
        ...databases.flatMap(databaseWarning),
      ],
    };
  }
}

function databaseReport(db: DatabaseInfo, haltHolder: string | undefined): DatabaseReport {
  return {
    name: nameText(db.name),
    position: formatPosition(db.position),
    pageSize: db.pageSize,
    pages: db.pageCount,
    journalMode: db.journalMode,
    state: db.status.state,
    ...('reason' in db.status && {
      reason: db.status.reason,
      since: new Date(db.statusSinceMs).toISOString(),
    }),
    haltHolder: haltHolder ?? null,
    walBytes: db.walBytes,
    log: { bytes: db.logBytes, files: db.logFiles, firstTxid: formatTxid(db.logFirstTxid) },
  };
}

function databaseWarning({ name, status, faultMs }: DatabaseInfo): string[] {
  const warnings = status.state === 'degraded' ? [`${nameText(name)}: ${status.reason}`] : [];
  if (faultMs > 0) {
    const when = new Date(faultMs).toISOString();
    warnings.push(
      `${nameText(name)}: at ${when} pages were found that nothing had written, and that were not what their checksums say: a fault of litefs-lite or of the disk. Read the log of that time, and report it`,
    );
  }
  return warnings;
}

/** Positions as text, by database. */
export function positionTexts(positions: ReadonlyMap<string, Position>): Record<string, string> {
  return Object.fromEntries(
    [...positions].map(([name, at]) => [nameText(name), formatPosition(at)]),
  );
}
