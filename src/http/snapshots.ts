/** The JSON of GET /snapshots, POST /snapshot and POST /increment. Times are ISO 8601, TXIDs 16 hex digits. */

export interface SnapshotsReport {
  /** Where they are kept; null when this node cuts none. */
  readonly dir: string | null;
  /** How each snapshot is read back before it counts (snapshots.verify); null when this node cuts none. */
  readonly verify: 'full' | 'quick' | 'off' | null;
  /** When the schedule fires next. */
  readonly nextRun: string | null;
  readonly lastRun: SnapshotRunReport | null;
  readonly databases: readonly ArchiveReport[];
  readonly warnings: readonly string[];
}

export interface ArchiveReport {
  readonly name: string;
  /** Newest first. */
  readonly snapshots: readonly SnapshotReport[];
  /** States that can be restored, in stretches without a gap; newest first. */
  readonly ranges: readonly RangeReport[];
  readonly files: number;
  readonly bytes: number;
}

export interface SnapshotReport {
  readonly txid: string;
  readonly at: string;
  readonly bytes: number;
  /** The strongest check that it has passed, and when it was last read; null when that is not known. */
  readonly verified: { readonly check: 'full' | 'quick'; readonly at: string } | null;
}

export interface RangeReport {
  readonly from: { readonly txid: string; readonly at: string };
  readonly to: { readonly txid: string; readonly at: string };
  readonly points: number;
  /** Files whose last transaction is in it. */
  readonly files: number;
  readonly bytes: number;
}

export interface SnapshotRunReport {
  readonly startedAt: string;
  readonly seconds: number;
  readonly ok: boolean;
  readonly snapshots: readonly ({ readonly name: string } & SnapshotReport)[];
  /** Not cut anew: nothing has changed since the newest one. */
  readonly unchanged: readonly string[];
  readonly errors: readonly string[];
}

/** The transaction up to which the archive has everything. */
export interface IncrementReport {
  readonly name: string;
  readonly txid: string;
}
