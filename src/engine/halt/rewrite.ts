/**
 * Makes a database of this primary what a file is, as one transaction of the pages that differ: a restore in place. What
 * takes long, the checksums of the file, is done before its write lock is taken (lender.ts).
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../../errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../../kernels/checksum.ts';
import { LtxEncoder } from '../../ltx/encoder.ts';
import type { Position } from '../../ltx/position.ts';
import { DB_HEADER_BYTES, lockPageNumber, parseDbHeader } from '../../sqlite/db-header.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { SpillSink } from '../core/spill-sink.ts';
import { readCurrentPage } from '../read/current-page.ts';
import type { Task } from '../tasks/scheduler.ts';
import type { HaltLender } from './lender.ts';

const READ_BYTES = 1 << 20;
const PAGES_PER_STEP = 256;

export class RewriteTask {
  readonly #ctx: EngineContext;
  readonly #lender: HaltLender;
  readonly #db: Database;
  readonly #fd: number;
  readonly #pageSize: number;
  readonly #sums: BigUint64Array;

  /** `image`: a database file that nobody changes. Throws DATABASE_CORRUPT, WRONG_STATE for another page size. */
  constructor(ctx: EngineContext, lender: HaltLender, db: Database, image: string) {
    this.#ctx = ctx;
    this.#lender = lender;
    this.#db = db;
    this.#fd = fs.openSync(image, 'r');
    try {
      const head = Buffer.alloc(DB_HEADER_BYTES);
      fs.readSync(this.#fd, head, 0, head.length, 0);
      const header = parseDbHeader(head);
      const { size } = fs.fstatSync(this.#fd);
      if (!header || size % header.pageSize !== 0) {
        throw new LiteFsError('DATABASE_CORRUPT', 'what was sent is no whole SQLite database');
      }
      this.#pageSize = header.pageSize;
      this.#expectPageSize();
      this.#sums = new BigUint64Array(size / header.pageSize);
    } catch (error) {
      fs.closeSync(this.#fd);
      throw error;
    }
  }

  /** Takes the checksums of all pages. */
  *read(): Task<void> {
    const perRead = Math.max(1, READ_BYTES / this.#pageSize);
    const lockPage = lockPageNumber(this.#pageSize);
    const chunk = Buffer.allocUnsafeSlow(perRead * this.#pageSize);
    for (let first = 1; first <= this.#sums.length; first += perRead) {
      fs.readSync(this.#fd, chunk, 0, chunk.length, (first - 1) * this.#pageSize);
      const last = Math.min(this.#sums.length, first + perRead - 1);
      for (let pgno = first; pgno <= last; pgno++) {
        const at = (pgno - first) * this.#pageSize;
        const page = chunk.subarray(at, at + this.#pageSize);
        if (pgno !== lockPage) this.#sums[pgno - 1] = pageChecksum(pgno, page);
      }
      yield;
    }
  }

  /**
   * Commits what differs, while the database is lent. Throws WRONG_STATE when it is not, or has another page size now;
   * DISK; then nothing has changed.
   */
  *finish(): Task<Position> {
    const [ctx, db] = [this.#ctx, this.#db];
    this.#expectPageSize();
    const sums = this.#sums;
    const first = this.#firstPage();
    sums[0] = pageChecksum(1, first);
    const header = db.nextHeader({
      pageSize: this.#pageSize,
      commit: sums.length,
      transactions: 1,
      timestampMs: ctx.wallClockMs(),
      nodeId: ctx.nodeId,
    });
    const sink = new SpillSink(path.join(ctx.layout.spool, `rewrite-${randomUUID()}`));
    try {
      const encoder = new LtxEncoder(sink, header, { compress: ctx.compress });
      let xor = 0n;
      let count = 0;
      for (let pgno = 1; pgno <= sums.length; pgno++) {
        const sum = sums[pgno - 1];
        xor ^= sum;
        if (sum === db.sums.get(pgno)) continue;
        encoder.page(pgno, pgno === 1 ? first : this.#page(pgno));
        if (++count % PAGES_PER_STEP === 0) yield;
      }
      encoder.finish(xor | CHECKSUM_FLAG);
    } catch (error) {
      sink.abort();
      throw error;
    }
    const made = sink.finish();
    try {
      return yield* this.#lender.commit(db, made);
    } finally {
      if ('path' in made) fs.rmSync(made.path, { force: true });
    }
  }

  close(): void {
    fs.closeSync(this.#fd);
  }

  #expectPageSize(): void {
    if (this.#pageSize === this.#db.pageSize) return;
    throw new LiteFsError(
      'WRONG_STATE',
      `${this.#db.name} has pages of ${this.#db.pageSize} bytes now, then it had some of ${this.#pageSize}`,
      { hint: 'Stop its applications, remove it, restore with --output, and import that.' },
    );
  }

  #page(pgno: number): Buffer {
    const page = Buffer.allocUnsafe(this.#pageSize);
    fs.readSync(this.#fd, page, 0, page.length, (pgno - 1) * page.length);
    return page;
  }

  /**
   * Connections know what they have in memory by counters in page 1: these go on, as they may have been where they were
   * then with other content. The journal mode stays: connections have their locks by it.
   */
  #firstPage(): Buffer {
    const now = Buffer.alloc(DB_HEADER_BYTES);
    readCurrentPage(this.#db, 1, now);
    const page = this.#page(1);
    const changeCounter = (now.readUInt32BE(24) + 1) >>> 0;
    now.copy(page, 18, 18, 20);
    page.writeUInt32BE(changeCounter, 24);
    page.writeUInt32BE(this.#sums.length, 28);
    page.writeUInt32BE((now.readUInt32BE(40) + 1) >>> 0, 40);
    page.writeUInt32BE(changeCounter, 92);
    return page;
  }
}
