/** What a replica says that it has, and since when that is not all that this node has. */
import { type Position, samePosition, ZERO_POSITION } from '../ltx/position.ts';
import type { Clock } from './parts.ts';

/** What this node has of the databases that the replica wants. */
export interface Ours {
  /** As ReplicationStore has it. */
  readonly revision: number;
  /** Not asked for when the revision tells enough: there may be thousands. */
  positions(): Iterable<readonly [string, Position]>;
}

export class Acknowledged {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #positions = new Map<string, Position>();
  /** Databases of which it says that it has what this node never had: it has nothing of ours, whatever it has. */
  readonly #claims = new Set<string>();
  /** When it was last seen to have everything, monotonic ms. */
  #currentMs: number;
  /** The revision with which it had everything, if nothing was said since. */
  #currentRevision: number | undefined;
  /** What we had at the last look that it did not have. */
  #lastLook: { readonly atMs: number; readonly txids: ReadonlyMap<string, number> } | undefined;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
    this.#currentMs = clock.monotonicMs();
  }

  /** What it has of these databases, which are ours: nothing where it says that it is further than we are. */
  shown(ours: ReadonlyMap<string, Position>): Map<string, Position> {
    const isShown = ([name, { txid }]: [string, Position]) => txid <= (ours.get(name)?.txid ?? -1);
    return new Map([...this.#positions].filter(isShown));
  }

  /** Zero for a database of which it has said nothing. */
  get(database: string): Position {
    return this.#positions.get(database) ?? ZERO_POSITION;
  }

  /** `ours`: where the database is here. */
  set(database: string, position: Position, ours: Position | undefined): void {
    this.#positions.set(database, position);
    const isPossible = ours && (position.txid < ours.txid || samePosition(position, ours));
    if (isPossible) this.#claims.delete(database);
    else this.#claims.add(database);
    this.#currentRevision = undefined;
  }

  delete(database: string): void {
    this.#positions.delete(database);
    this.#claims.delete(database);
    this.#currentRevision = undefined;
  }

  /** For how long it has not had all that we have, ms; 0 when it has. */
  behindMs(ours: Ours): number {
    return this.look(ours) ? 0 : this.#clock.monotonicMs() - this.#currentMs;
  }

  /**
   * Whether it has applied all that we have; notes when. One that follows a busy primary seldom has, so it also counts
   * when it reaches what we had at the last look.
   */
  look(ours: Ours): boolean {
    const now = this.#clock.monotonicMs();
    if (ours.revision === this.#currentRevision) {
      this.#currentMs = now;
      return true;
    }
    const last = this.#lastLook;
    if (last && !this.#hasApplied(last.txids)) return false;
    if (last) this.#currentMs = last.atMs;
    const txids = new Map<string, number>();
    for (const [name, { txid }] of ours.positions()) txids.set(name, txid);
    const isCurrent = this.#hasApplied(txids);
    if (isCurrent) this.#currentMs = now;
    this.#currentRevision = isCurrent ? ours.revision : undefined;
    this.#lastLook = isCurrent ? undefined : { atMs: now, txids };
    return isCurrent;
  }

  #hasApplied(txids: ReadonlyMap<string, number>): boolean {
    for (const [name, txid] of txids) {
      if (this.#claims.has(name) || this.get(name).txid < txid) return false;
    }
    return true;
  }
}
