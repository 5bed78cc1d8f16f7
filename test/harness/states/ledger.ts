/**
 * What is known of the transactions of a round, each by its number: SQLite has committed it, or has refused it, or its
 * process was killed. What became of those SQLite's own list tells in the end.
 */
export class Ledger {
  #next = 2; // The tables were made by the first.
  readonly committed = new Set<number>([1]);
  readonly refused = new Set<number>();
  readonly killed = new Set<number>();
  /**
   * Committed, and gone after a kill: SQLite before 3.51 leaves frames without checksums after a savepoint that was rolled
   * back, at which its recovery stops. Nothing that a replica could help.
   */
  readonly lost = new Set<number>();
  /**
   * The same with frames that a checkpoint had begun to copy: the database is malformed from then on, as it is in a plain
   * directory (docs/sqlite-quirks.md). All that is left to ask is that a replica has the same bytes.
   */
  isWrecked = false;
  /** Some of it was written in journal_mode=MEMORY or OFF. */
  isJournalless = false;
  /** Of a writer that is alone, and of any that is not about locks: SQLite would not have met them in a plain directory. */
  readonly faults: string[] = [];
  kills = 0;
  pauses = 0;

  take(): number {
    return this.#next++;
  }

  /** Whether a state that lists these transactions may have been published. */
  refusedAmong(tokens: readonly number[]): number | undefined {
    return tokens.find((token) => this.refused.has(token));
  }

  /** After a kill: what SQLite lists now. `committed`: what was committed for sure before that was asked. */
  recovered(listed: readonly number[], committed: readonly number[]): void {
    const present = new Set(listed);
    for (const token of committed) {
      if (!present.has(token)) this.lost.add(token);
    }
  }
}
