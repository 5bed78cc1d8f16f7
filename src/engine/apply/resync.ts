/**
 * A resync: a replica that cannot follow the log gets the pages in which it differs, then the entries
 * committed meanwhile. Everything is staged in a file laid out like the database; only when all of it is there
 * and its checksum is right does it become visible, at once.
 *
 * The position moves on (#moveOn) when the disk has the pages where redo.ts finds them: in the -wal, not published yet, or, for a
 * new database, in the staged file, kept as state/<db>.image until it has its name. So what a crash has interrupted is at the next start the old state, or is finished then.
 */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { LiteFsError } from '../../errors.ts';
import { LtxDecoder } from '../../ltx/decoder.ts';
import { formatPosition, type Position } from '../../ltx/position.ts';
import type { ByteSource } from '../../ltx/sources.ts';
import { lockPageNumber } from '../../sqlite/db-header.ts';
import { PageSums } from '../../store/page-sums.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { insist } from '../core/insist.ts';
import { type LtxInput, withLtxInput } from '../core/ltx-input.ts';
import { beginLogAnew, type NewState } from '../core/saved-state.ts';
import { asTask, type Task } from '../tasks/scheduler.ts';
import { pagesOnlyAnnounced } from './announced.ts';
import { WalAppender } from './appender.ts';
import { checkpointIfLarge } from './checkpoints.ts';
import { keepReplaced, keepUnknown } from './divergence.ts';
import { dropFiles, makeDatabase, makeMissingWal } from './new-database.ts';
import { StagedImage } from './staged-image.ts';

export interface ResyncBase {
  readonly position: Position;
  readonly pageSize: number;
  readonly pageCount: number;
  /** What we have is not part of the sender's history: keep it. */
  readonly diverged: boolean;
}

const PAGES_PER_STEP = 256;

export class ResyncTask {
  readonly #ctx: EngineContext;
  readonly #db: Database;
  readonly #base: ResyncBase;
  readonly #lockPage: number;
  #image: StagedImage;
  #pageCount: number;

  /** The size is one that a database can have (announced.ts). */
  constructor(ctx: EngineContext, db: Database, base: ResyncBase) {
    this.#ctx = ctx;
    this.#db = db;
    this.#base = base;
    this.#pageCount = base.pageCount;
    this.#lockPage = lockPageNumber(base.pageSize);
    this.#image = new StagedImage(
      path.join(ctx.layout.spool, `resync-${randomUUID()}`),
      base.pageSize,
    );
  }

  /** Records of u32 big-endian page number and page. Throws PROTOCOL when they are not. */
  pages(records: Uint8Array): void {
    const { pageSize } = this.#image;
    const recordBytes = pageSize + 4;
    if (records.length % recordBytes !== 0) {
      throw new LiteFsError('PROTOCOL', `${this.#db.name}: pages of a resync are of another size`);
    }
    const view = Buffer.from(records.buffer, records.byteOffset, records.length);
    for (let at = 0; at < view.length; at += recordBytes) {
      const pgno = view.readUInt32BE(at);
      if (pgno === 0 || pgno > this.#base.pageCount || pgno === this.#lockPage) {
        throw new LiteFsError('PROTOCOL', `${this.#db.name}: a resync with a page ${pgno}`);
      }
      this.#image.put(pgno, view.subarray(at + 4, at + recordBytes));
    }
  }

  /** An entry committed on the primary while the pages were being read. */
  *entry(input: LtxInput): Task<void> {
    yield* withLtxInput(input, this.#stage.bind(this));
  }

  /** Makes it visible. Throws CHECKSUM_MISMATCH; then the database is as it was. */
  *finish(position: Position): Task<void> {
    const db = this.#db;
    db.files.refuseOthers();
    yield* makeMissingWal(this.#ctx, db);
    const sums = this.#result(position);
    this.#image.writeOut();
    // Without a history it may be what a user has put here.
    if (this.#base.diverged || db.position.txid === 0) {
      keepReplaced(this.#ctx, db, this.#image, this.#pageCount, position);
    }
    keepUnknown(this.#ctx, db, position);
    const moveOn = () => this.#moveOn({ sums, position, pageSize: this.#image.pageSize });
    if (this.#pageCount === 0) {
      moveOn();
      yield* insist(this.#ctx, db, () => asTask(() => dropFiles(db)));
    } else if (db.wal.cursor) {
      yield* this.#append(moveOn);
    } else {
      yield* makeDatabase(this.#ctx, db, this.#image, this.#pageCount, moveOn);
    }
    db.shown = undefined;
    this.#ctx.emitPosition(db);
    this.#image.remove();
    db.tally.resyncs++;
    if (this.#pageCount > 0) yield* checkpointIfLarge(this.#ctx, db);
  }

  abort(): void {
    this.#image.remove();
  }

  *#stage(source: ByteSource): Task<void> {
    const decoder = new LtxDecoder(source);
    const { header } = decoder;
    if (header.pageSize !== this.#image.pageSize) {
      this.#image.remove();
      const file = path.join(this.#ctx.layout.spool, `resync-${randomUUID()}`);
      this.#image = new StagedImage(file, header.pageSize);
    }
    this.#pageCount = header.commit;
    for (let page = decoder.next(), count = 1; page; page = decoder.next(), count++) {
      this.#image.put(page.pgno, page.data);
      if (count % PAGES_PER_STEP === 0) yield;
    }
    decoder.finish();
  }

  /** The table of the result. Throws CHECKSUM_MISMATCH when that is not what it should be. */
  #result(position: Position): PageSums {
    const { sums: before, pageSize } = this.#db;
    const isComparable = pageSize === this.#image.pageSize;
    this.#refuseUnseen(isComparable ? before.pageCount : 0);
    const sums = isComparable ? PageSums.from(before.view().slice()) : new PageSums();
    sums.resize(this.#pageCount);
    for (const { pgno, sum } of this.#image.sums()) {
      if (pgno <= this.#pageCount) sums.set(pgno, sum);
    }
    if (sums.checksum === position.checksum) return sums;
    this.#db.tally.checksumFailures++;
    const made = { txid: position.txid, checksum: sums.checksum };
    throw new LiteFsError(
      'CHECKSUM_MISMATCH',
      `${this.#db.name}: the resync made ${formatPosition(made)}, not ${formatPosition(position)}`,
    );
  }

  /** A table of checksums is made for what has come, not for what was announced. `had`: pages that were here. Throws PROTOCOL. */
  #refuseUnseen(had: number): void {
    const came = this.#image.countUpTo(this.#pageCount) - this.#image.countUpTo(had);
    const size = { pageSize: this.#image.pageSize, pageCount: this.#pageCount };
    const missing = pagesOnlyAnnounced(size, had, came);
    if (missing === 0) return;
    const text = `a resync to ${this.#pageCount} pages that lacks ${missing} of them`;
    throw new LiteFsError('PROTOCOL', `${this.#db.name}: ${text}`);
  }

  /** Readers still see what was. The caller has the pages where they are found. Throws what the disk says; then it has not. */
  #moveOn(to: NewState): void {
    const db = this.#db;
    const before = db.position;
    beginLogAnew(db, to);
    db.shown = before;
    for (const { pgno } of this.#image.sums()) {
      if (pgno > this.#pageCount) continue;
      for (const listener of db.changeListeners) listener.changed(pgno);
    }
  }

  /** Pages of another size are all of them, as in a new database. */
  *#append(moveOn: () => void): Task<void> {
    const [ctx, db] = [this.#ctx, this.#db];
    const appender = yield* WalAppender.begin(ctx, db, this.#image.pageSize);
    try {
      yield* this.#fill(appender);
      appender.write();
      moveOn();
    } catch (error) {
      appender.abort();
      throw error;
    }
    yield* insist(ctx, db, () => asTask(() => appender.publish(this.#pageCount)));
  }

  *#fill(appender: WalAppender): Task<void> {
    let left = this.#image.countUpTo(this.#pageCount);
    if (left === 0) appender.repeatFirstPage(this.#pageCount);
    for (const { pgno, data } of this.#image.pages()) {
      if (pgno > this.#pageCount) break;
      left--;
      appender.frame(pgno, data, left === 0 ? this.#pageCount : 0);
      if (left % PAGES_PER_STEP === 0) yield;
    }
  }
}
