/**
 * Which pages a transaction with a rollback journal has changed: those the journal has a record of, and
 * those it may have changed without one (journal-freelist.ts). The journal is read as it is when the
 * transaction ends, when all of its records have been written. Formats: journal-format.ts.
 *
 * What makes a record one of this transaction: in a segment whose header counts records, its place; in one
 * whose header does not, its checksum, because a reused journal has old records behind the new ones and
 * the nonce is another in each header.
 */
import { lockPageNumber, parseDbHeader } from './db-header.ts';
import {
  hasUsableSizes,
  JOURNAL_HEADER_BYTES,
  type JournalFile,
  type JournalHeader,
  journalChecksum,
  parseJournalHeader,
  RECORD_OVERHEAD_BYTES,
  RECORDS_TO_END,
  readSuperJournal,
} from './journal-format.ts';
import { freelistLeaves, type PageSource } from './journal-freelist.ts';

export type { JournalFile, PageSource };

export interface Journal {
  /** Every page up to originalPageCount that may have changed; ascending, unique. */
  readonly pageNumbers: Uint32Array;
  /** Database size in pages before the transaction. Pages past it have no records. */
  readonly originalPageCount: number;
  readonly pageSize: number;
  readonly sectorSize: number;
  /**
   * The change counter before the transaction, from the copy of page 1; undefined without one. Each commit counts it up by
   * one, but under locking_mode=EXCLUSIVE only the first.
   */
  readonly changeCounter?: number;
  /** Path of the super-journal of a transaction over several databases. */
  readonly superJournal?: string;
  /** False when more pages may have changed than are listed. */
  readonly reliable: boolean;
}

const READ_BYTES = 1 << 18;
/** Records that are looked at before all are. */
const NEAR_RECORDS = 64;
/** Searches through all of them, before they are put in order: a hostile freelist leads to and fro. */
const FAR_MAX = 8;

/**
 * undefined when the file has no valid header: empty, zeroed, or begun and never synced.
 * `unchanged` reads pages of the database as they are; it is asked only for trunk pages of the freelist
 * without a record, and only with auto_vacuum. When it does not have one (none given, or a VACUUM has cut
 * the page off), the journal is not reliable.
 */
export function parseJournal(
  file: JournalFile,
  unchanged: PageSource = () => undefined,
): Journal | undefined {
  const first = parseJournalHeader(file.read(0, JOURNAL_HEADER_BYTES));
  if (first === undefined || !hasUsableSizes(first) || first.sectorSize > file.size) {
    return undefined;
  }
  const scan = new RecordScan(file, first);
  const complete = scan.run();
  const page1 = scan.page(1);
  const journaled = (pgno: number) => (pgno === 1 ? page1 : scan.page(pgno));
  const leaves = freelistLeaves(first.originalPageCount, journaled, unchanged);
  return {
    pageNumbers: ascending(scan.pageNumbers, leaves.leaves),
    originalPageCount: first.originalPageCount,
    pageSize: first.pageSize,
    sectorSize: first.sectorSize,
    changeCounter: page1 && parseDbHeader(page1)?.changeCounter,
    superJournal: readSuperJournal(file),
    reliable: complete && leaves.complete,
  };
}

/** A page as it was before the transaction: where it is in the journal. */
export interface OriginalPage {
  readonly pgno: number;
  readonly offset: number;
}

/** What a rollback writes back, each page once; undefined as with parseJournal. */
export function originalPages(
  file: JournalFile,
): { pageSize: number; originalPageCount: number; pages: OriginalPage[] } | undefined {
  const first = parseJournalHeader(file.read(0, JOURNAL_HEADER_BYTES));
  if (first === undefined || !hasUsableSizes(first) || first.sectorSize > file.size) {
    return undefined;
  }
  const scan = new RecordScan(file, first);
  scan.run();
  const { pageSize, originalPageCount } = first;
  return { pageSize, originalPageCount, pages: scan.originals() };
}

function ascending(a: readonly number[], b: readonly number[]): Uint32Array {
  const all = new Uint32Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  all.sort();
  let count = 0;
  for (const pgno of all) if (count === 0 || all[count - 1] !== pgno) all[count++] = pgno;
  return all.subarray(0, count);
}

/** A walk over all segments; holds the numbers of pages and where they are, never the pages. */
class RecordScan {
  readonly pageNumbers: number[] = [];
  readonly #offsets: number[] = [];
  readonly #file: JournalFile;
  readonly #first: JournalHeader;
  readonly #recordBytes: number;
  readonly #lockPage: number;
  #lastFound = 0;
  /** How many were not near to the one before them. */
  #far = 0;
  /** Where each page is first; made when many are far. */
  #index: Map<number, number> | undefined;
  #chunk: Uint8Array = new Uint8Array(0);
  #chunkStart = 0;

  constructor(file: JournalFile, first: JournalHeader) {
    this.#file = file;
    this.#first = first;
    this.#recordBytes = first.pageSize + RECORD_OVERHEAD_BYTES;
    this.#lockPage = lockPageNumber(first.pageSize);
  }

  /** False when there should be more records than there are. */
  run(): boolean {
    const { sectorSize, originalPageCount } = this.#first;
    let at = 0;
    while (at + sectorSize <= this.#file.size) {
      const header = parseJournalHeader(this.#bytes(at, JOURNAL_HEADER_BYTES));
      if (header === undefined) break;
      if (header.originalPageCount !== originalPageCount) return false;
      const counted = header.recordCount !== 0 && header.recordCount !== RECORDS_TO_END;
      const limit = counted ? header.recordCount : Number.POSITIVE_INFINITY;
      const records = this.#segment(at + sectorSize, limit, header.nonce);
      if (counted && records < limit) return false;
      if (header.recordCount === RECORDS_TO_END) break;
      const end = at + sectorSize + records * this.#recordBytes;
      at = Math.ceil(end / sectorSize) * sectorSize;
    }
    return this.pageNumbers.length > 0 || originalPageCount === 0;
  }

  /** The first record of each page: a later one would hold what the transaction had written already. */
  originals(): OriginalPage[] {
    const offsets = new Map<number, number>();
    for (let i = 0; i < this.pageNumbers.length; i++) {
      const pgno = this.pageNumbers[i];
      if (!offsets.has(pgno)) offsets.set(pgno, this.#offsets[i] + 4);
    }
    return Array.from(offsets, ([pgno, offset]) => ({ pgno, offset }));
  }

  /** The journal's copy of a page, undefined when there is none. */
  page(pgno: number): Uint8Array | undefined {
    const index = this.#indexOf(pgno);
    if (index === undefined) return undefined;
    this.#lastFound = index;
    return this.#file.read(this.#offsets[index] + 4, this.#first.pageSize);
  }

  /** Trunk pages are used up, and so journaled, in the order in which they are asked for: the next one is near, mostly. */
  #indexOf(pgno: number): number | undefined {
    const { pageNumbers } = this;
    const near = Math.min(pageNumbers.length, this.#lastFound + NEAR_RECORDS);
    for (let i = this.#lastFound; i < near; i++) if (pageNumbers[i] === pgno) return i;
    if (this.#far++ < FAR_MAX) {
      const first = pageNumbers.indexOf(pgno);
      return first < 0 ? undefined : first;
    }
    if (!this.#index) {
      this.#index = new Map();
      for (let i = pageNumbers.length - 1; i >= 0; i--) this.#index.set(pageNumbers[i], i);
    }
    return this.#index.get(pgno);
  }

  /** Notes the valid records from `start` on, `limit` at most, and returns how many they are. */
  #segment(start: number, limit: number, nonce: number): number {
    const { pageSize, originalPageCount } = this.#first;
    for (let count = 0, at = start; ; count++, at += this.#recordBytes) {
      if (count === limit) return count;
      const record = this.#bytes(at, this.#recordBytes);
      if (record.length < this.#recordBytes) return count;
      const view = new DataView(record.buffer, record.byteOffset, record.length);
      const pgno = view.getUint32(0);
      if (pgno === 0 || pgno === this.#lockPage) return count;
      if (view.getUint32(4 + pageSize) !== journalChecksum(nonce, record, 4, pageSize))
        return count;
      if (pgno > originalPageCount) continue;
      this.pageNumbers.push(pgno);
      this.#offsets.push(at);
    }
  }

  /** Bytes of the file, read in large pieces; fewer than asked for at its end. */
  #bytes(offset: number, length: number): Uint8Array {
    let from = offset - this.#chunkStart;
    if (from < 0 || from + length > this.#chunk.length) {
      const wanted = Math.min(Math.max(READ_BYTES, length), Math.max(0, this.#file.size - offset));
      this.#chunk = this.#file.read(offset, wanted);
      this.#chunkStart = offset;
      from = 0;
    }
    return this.#chunk.subarray(from, from + length);
  }
}
