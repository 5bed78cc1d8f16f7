/**
 * What was written to a database file and is not captured yet, and whether a journal tells of it. It tells of what is
 * written from its beginning to its end. What comes before that is a commit of its own (journal_mode=MEMORY or OFF), or
 * no commit of SQLite at all, and only a comparison finds it. The change counter does not show it always: under
 * locking_mode=EXCLUSIVE only the first transaction counts it up.
 *
 * The events must come in the order in which they have happened.
 */
export class FileWrites {
  #any = false;
  #hasJournalBegun = false;
  #areSomeOutside = false;

  /** The file was written. */
  written(): void {
    this.#any = true;
    if (!this.#hasJournalBegun) this.#areSomeOutside = true;
  }

  journalBegun(): void {
    this.#hasJournalBegun = true;
  }

  /** Whether there is something that was written and is not captured. */
  get any(): boolean {
    return this.#any;
  }

  /** Whether some of it was written while there was no journal. */
  get areSomeOutside(): boolean {
    return this.#areSomeOutside;
  }

  /** All that was written until now is captured, or will be. */
  settled(): void {
    this.#any = false;
    this.#areSomeOutside = false;
  }

  /** As settled(), and from now on there is no journal. */
  journalEnded(): void {
    this.settled();
    this.#hasJournalBegun = false;
  }
}
