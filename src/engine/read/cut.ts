/**
 * A cut: all pages of a database as of one position, read without a lock while writers go on.
 *
 * Every page that is read is checked against its known checksum. One that does not match has been changed by
 * a commit not captured yet (capture it: then the page is of a later entry and is left out,
 * because the receiver gets that entry too) or by a transaction still open (try again later).
 * So base pages and the entries after them make exactly the state at the end of the cut.
 */
import { LiteFsError } from '../../errors.ts';
import { pageChecksum } from '../../kernels/checksum.ts';
import type { Position } from '../../ltx/position.ts';
import { lockPageNumber } from '../../sqlite/db-header.ts';
import type { ChangeListener, Database } from '../core/database.ts';
import type { Task } from '../tasks/scheduler.ts';
import { readCurrentPage } from './current-page.ts';

/** How long a page may stay unreadable because of an open transaction. */
export const CUT_BUSY_MS_MAX = 60_000;
const PAGES_COMPARED_PER_STEP = 65536;

/** Captures what is committed now, so that unreadable pages are explained. */
export type FlushStep = () => Task<void>;

export class PageCutter implements ChangeListener {
  readonly position: Position;
  readonly pageSize: number;
  readonly pageCount: number;
  readonly #db: Database;
  readonly #theirs: BigUint64Array | undefined;
  /** One bit a page: changed since the cut began. */
  readonly #changed: Uint8Array;
  readonly #lockPage: number;
  #next = 1;

  /** `theirs`: the receiver's page checksums, of pages of the same size. */
  constructor(db: Database, theirs: BigUint64Array | undefined) {
    this.#db = db;
    this.position = db.position;
    this.pageSize = db.pageSize;
    this.pageCount = db.pageCount;
    this.#theirs = theirs;
    this.#changed = new Uint8Array(Math.ceil((db.pageCount + 1) / 8));
    this.#lockPage = db.pageSize === 0 ? 0 : lockPageNumber(db.pageSize);
    db.changeListeners.add(this);
  }

  /** Of a page and its number. */
  get recordBytes(): number {
    return this.pageSize + 4;
  }

  changed(pgno: number): void {
    if (pgno <= this.pageCount) this.#changed[pgno >> 3] |= 1 << (pgno & 7);
  }

  /**
   * Fills `out`, which holds a record at least, with the next pages: records of u32 big-endian page number and the
   * page. Returns how many bytes it filled; 'end', when everything committed has been captured; undefined when an open
   * transaction has the next page.
   */
  *next(out: Buffer, flush: FlushStep): Task<number | 'end' | undefined> {
    const { recordBytes } = this;
    const max = Math.floor(out.length / recordBytes);
    let count = 0;
    let compared = 0;
    while (this.#next <= this.pageCount && count < max) {
      this.#checkPageSize();
      const pgno = this.#next;
      if (!this.#isWanted(pgno)) {
        this.#next++;
        if (++compared % PAGES_COMPARED_PER_STEP === 0) yield;
        continue;
      }
      const at = count * recordBytes;
      const page = out.subarray(at + 4, at + recordBytes);
      readCurrentPage(this.#db, pgno, page);
      if (pageChecksum(pgno, page) === this.#db.sums.get(pgno)) {
        out.writeUInt32BE(pgno, at);
        count++;
        this.#next++;
        continue;
      }
      yield* flush();
      if (this.#isChanged(pgno)) continue;
      return count > 0 ? count * recordBytes : undefined;
    }
    if (count > 0) return count * recordBytes;
    yield* flush();
    return 'end';
  }

  /** For a page that stays unreadable. */
  busy(): LiteFsError {
    return new LiteFsError(
      'DATABASE_BUSY',
      `page ${this.#next} of ${this.#db.name} has been held by an open transaction for a minute`,
    );
  }

  close(): void {
    this.#db.changeListeners.delete(this);
  }

  #checkPageSize(): void {
    if (this.#db.pageSize === this.pageSize) return;
    throw new LiteFsError(
      'DATABASE_BUSY',
      `${this.#db.name} changed its page size while it was read`,
    );
  }

  #isChanged(pgno: number): boolean {
    return (this.#changed[pgno >> 3] & (1 << (pgno & 7))) !== 0 || pgno > this.#db.pageCount;
  }

  #isWanted(pgno: number): boolean {
    if (pgno === this.#lockPage || this.#isChanged(pgno)) return false;
    const theirs = this.#theirs;
    return !theirs || pgno > theirs.length || theirs[pgno - 1] !== this.#db.sums.get(pgno);
  }
}
