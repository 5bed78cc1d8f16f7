/** Who has the halt lock of which database, and until when. One holder for each database. */
import { LiteFsError } from '../errors.ts';

export interface HaltEntry {
  readonly database: string;
  /** Chosen by who asks; gives the lock back. */
  readonly id: number;
  /** The holder's name, for messages. */
  readonly holder: string;
  /** When it ends unless it is renewed, ms of the clock; undefined: with the connection that it belongs to. */
  expiresMs: number | undefined;
}

export class HaltTable {
  readonly #entries = new Map<string, HaltEntry>();

  get(database: string): HaltEntry | undefined {
    return this.#entries.get(database);
  }

  /** Throws WRONG_STATE when somebody has it. `what`: how the database is called in messages. */
  claim(entry: HaltEntry, what: string): void {
    const taken = this.#entries.get(entry.database);
    if (taken) {
      throw new LiteFsError('WRONG_STATE', `the halt lock of ${what} is held by ${taken.holder}`, {
        hint: 'Wait until it is given back; a holder that is gone loses it within seconds.',
      });
    }
    this.#entries.set(entry.database, entry);
  }

  /** Whether that very lock was there. */
  release(database: string, id: number): boolean {
    if (this.#entries.get(database)?.id !== id) return false;
    return this.#entries.delete(database);
  }

  /** Those whose time is over. */
  expired(nowMs: number): HaltEntry[] {
    return [...this.#entries.values()].filter(
      ({ expiresMs }) => expiresMs !== undefined && expiresMs <= nowMs,
    );
  }

  [Symbol.iterator](): Iterator<HaltEntry> {
    return this.#entries.values();
  }
}
