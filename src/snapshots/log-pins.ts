/** What the log must keep for the archives: else what a long snapshot needs in the end is merged away or trimmed before. */
import type { SnapshotSource } from './source.ts';

/** `archive`: what increments have not reached yet; `cut`: what was committed since a snapshot was begun. */
export type PinReason = 'archive' | 'cut';

export class LogPins {
  readonly #source: Pick<SnapshotSource, 'pin'>;
  /** TXIDs by database, for each reason. */
  readonly #txids: Record<PinReason, Map<string, number>> = { archive: new Map(), cut: new Map() };

  constructor(source: Pick<SnapshotSource, 'pin'>) {
    this.#source = source;
  }

  /** What follows `txid` is needed; undefined: nothing. */
  set(database: string, reason: PinReason, txid: number | undefined): void {
    const txids = this.#txids[reason];
    if (txids.get(database) === txid) return;
    if (txid === undefined) txids.delete(database);
    else txids.set(database, txid);
    const { archive, cut } = this.#txids;
    const needs = new Map(archive);
    for (const [name, begun] of cut) needs.set(name, Math.min(needs.get(name) ?? begun, begun));
    this.#source.pin('snapshots', needs);
  }
}
