/**
 * What was written to a database file and is not captured yet, and what tells of it. A journal tells of what is written
 * from its beginning to its end, and a -wal of what is checkpointed from it. What comes before them is a commit of its own
 * (journal_mode=MEMORY or OFF), or no commit of SQLite at all, and only a comparison finds it. The change counter does not
 * show it always: under locking_mode=EXCLUSIVE only the first transaction counts it up. The cut of a file after a commit
 * changes nothing of what was captured; the mount marks its beginning and end (mount/cut-marks.ts).
 *
 * What is written through mmap, copy_file_range or sendfile makes no event where the kernel passes files through. It shows in
 * how the file looks, once its handle is closed.
 *
 * The events must come in the order in which they have happened.
 */
import { type FileLook, sameLook } from '../../store/marker.ts';

/** How long a cut may take: the mount's thread may have to wait for a processor. */
const CUT_MS_MAX = 1000;

export class FileWrites {
  /** How often it was written, as far as events tell: they are merged, but not across a look. */
  count = 0;
  #any = false;
  /** When all that was written was settled; undefined: it was written since. */
  #look: FileLook | null | undefined;
  /**
   * Of the -wal: made, and maybe written; then the database was written, as by a checkpoint. What is written to the -wal after
   * that may be another generation.
   */
  #wal: 'unknown' | 'made' | 'checkpointed' = 'unknown';
  #hasJournalBegun = false;
  /** Some of it was written while there was no journal. */
  #areSomeOutside = false;
  /** Some of it was written while there was neither a journal nor a -wal, or may have been. */
  #areSomeUnexplained = false;
  /** The cut that has begun, and what was known before it. */
  #cut:
    | { mark: number; sinceMs: number; any: boolean; outside: boolean; unexplained: boolean }
    | undefined;

  /** The file was written. */
  written(): void {
    this.count++;
    this.#look = undefined;
    if (this.#wal === 'made') this.#wal = 'checkpointed';
    this.#any = true;
    if (!this.#hasJournalBegun) this.#areSomeOutside = true;
  }

  journalBegun(): void {
    this.#hasJournalBegun = true;
  }

  /** A -wal was made: before the one that was there is removed, what it tells of is settled. */
  walMade(): void {
    this.#wal = 'made';
    if (this.#areSomeOutside) this.#areSomeUnexplained = true;
  }

  /** The -wal is empty or absent from now on, and what it told of is settled. */
  walEmptied(): void {
    this.#wal = 'made';
  }

  /** Events of the -wal are missing. */
  walEventsLost(): void {
    this.#wal = 'unknown';
  }

  /** The -wal was written. */
  walWritten(): void {
    if (this.#wal === 'checkpointed') this.#wal = 'unknown';
  }

  /** Whether the -wal cannot have been started over since it was made. */
  get isFirstGeneration(): boolean {
    return this.#wal !== 'unknown';
  }

  /** It is about to be cut to the size that its header says. */
  cutBegun(mark: number, nowMs: number): void {
    this.#cut = {
      mark,
      sinceMs: nowMs,
      any: this.#any,
      outside: this.#areSomeOutside,
      unexplained: this.#areSomeUnexplained,
    };
  }

  /** It was: what was written since the beginning is that. */
  cutEnded(mark: number): void {
    const before = this.#cut;
    if (before?.mark !== mark) return;
    this.#cut = undefined;
    this.#any = before.any;
    this.#areSomeOutside = before.outside;
    this.#areSomeUnexplained = before.unexplained;
  }

  /** Whether all that was written is the cut that is under way just now. One that takes longer has failed. */
  isBeingCut(nowMs: number): boolean {
    return this.#cut !== undefined && !this.#cut.any && nowMs - this.#cut.sinceMs < CUT_MS_MAX;
  }

  /** Events are missing: it may have been written, whatever has begun and ended since. */
  eventsLost(): void {
    this.count++;
    this.#look = undefined;
    this.#wal = 'unknown';
    this.#any = true;
    this.#areSomeUnexplained = true;
    this.#cut = undefined;
  }

  /** Whether there is something that was written and is not captured. */
  get any(): boolean {
    return this.#any;
  }

  /** Whether it must be looked at: all that was written is settled, and nobody has looked since. */
  get isUnseen(): boolean {
    return !this.#any && this.#look === undefined;
  }

  /** How the file looked before it was read for a capture. */
  seen(look: FileLook | null): void {
    this.#look = look;
  }

  /** Whether it was written though no event tells of that. */
  isOtherwise(look: FileLook | null): boolean {
    return !this.#any && this.#look !== undefined && !sameLook(this.#look, look);
  }

  /** Whether what is there by now, a journal or a -wal, tells of all that was written. */
  areExplainedBy(present: 'journal' | 'wal' | undefined): boolean {
    if (present === undefined || this.#areSomeUnexplained) return false;
    return present === 'wal' || !this.#areSomeOutside;
  }

  /** What was written until now, as far as that is known, was captured by other means. */
  explained(): void {
    if (!this.#areSomeUnexplained) this.settled();
  }

  /** All that was written until now is captured, or will be. */
  settled(): void {
    this.#any = false;
    this.#areSomeOutside = false;
    this.#areSomeUnexplained = false;
    this.#cut = undefined;
  }

  /** As settled(), and from now on there is no journal. Whether what tells of writes has told of all. */
  journalEnded(present: 'journal' | 'wal'): boolean {
    const areExplained = this.areExplainedBy(present);
    this.settled();
    this.#hasJournalBegun = false;
    return areExplained;
  }
}
