/**
 * A resync: a replica that cannot follow the log gets the pages in which it differs, then the entries
 * committed meanwhile. Everything is staged in a file laid out like the database; only when all of it is there
 * and its checksum is right does it become visible, at once.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import { CHECKSUM_FLAG } from '../kernels/checksum.ts';
import { LtxDecoder } from '../ltx/decoder.ts';
import { formatPosition, type Position } from '../ltx/position.ts';
import type { ByteSource } from '../ltx/sources.ts';
import { lockPageNumber, parseDbHeader } from '../sqlite/db-header.ts';
import { savePageSums } from '../store/page-sums-file.ts';
import { dropFiles, writePages } from './apply-rollback.ts';
import { checkpointIfLarge } from './checkpoint.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { keepReplaced, keepUnknown } from './divergence.ts';
import { insist } from './insist.ts';
import { type LtxInput, withLtxInput } from './ltx-input.ts';
import { letReadersUseWal } from './readers-wal.ts';
import { rest, untilRemovable, whenLookedUp } from './rest.ts';
import type { Task } from './scheduler.ts';
import { StagedImage } from './staged-image.ts';
import { changesVersion, goOverToWal } from './unseen.ts';
import { WalAppender } from './wal-appender.ts';

export interface ResyncBase {
  readonly position: Position;
  readonly pageSize: number;
  readonly pageCount: number;
  /** What we have is not part of the sender's history: keep it. */
  readonly diverged: boolean;
}

const PAGES_PER_STEP = 256;
const LOCK_REST_MS = 1;

export class ResyncTask {
  readonly #ctx: EngineContext;
  readonly #db: Database;
  readonly #base: ResyncBase;
  #image: StagedImage;
  #pageCount: number;

  constructor(ctx: EngineContext, db: Database, base: ResyncBase) {
    this.#ctx = ctx;
    this.#db = db;
    this.#base = base;
    this.#pageCount = base.pageCount;
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
      this.#image.put(view.readUInt32BE(at), view.subarray(at + 4, at + recordBytes));
    }
  }

  /** An entry committed on the primary while the pages were being read. */
  *entry(input: LtxInput): Task<void> {
    yield* withLtxInput(input, this.#stage.bind(this));
  }

  /** Makes it visible. Throws CHECKSUM_MISMATCH; then the database is as it was. */
  *finish(position: Position): Task<void> {
    const db = this.#db;
    if (this.#pageCount === 0) yield* untilRemovable(this.#ctx, db.files);
    if (db.files.mayBeHeldUp) yield* whenLookedUp(this.#ctx, () => db.files.openAll());
    this.#checkResult(position);
    this.#image.writeOut();
    if (this.#base.diverged) {
      keepReplaced(this.#ctx, db, this.#image, this.#pageCount, position);
    }
    yield* keepUnknown(this.#ctx, db, position);
    // Neither a crash from here on, nor a stop, must take the old table for the new content.
    fs.rmSync(db.sumsFile, { force: true });
    db.shown = db.position;
    db.log.reset();
    if (this.#pageCount === 0) dropFiles(db);
    else if (!db.files.exists('db')) yield* this.#moveIntoPlace();
    else yield* this.#writeOver();
    this.#adopt(position);
    this.#image.remove();
    db.tally.resyncs++;
    yield* checkpointIfLarge(this.#ctx, db);
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

  #checkResult(position: Position): void {
    const same = this.#db.pageSize === this.#image.pageSize;
    const lockPage = lockPageNumber(this.#image.pageSize);
    let xor = 0n;
    for (let pgno = 1; pgno <= this.#pageCount; pgno++) {
      if (pgno === lockPage) continue;
      const sum = this.#image.sum(pgno) ?? (same ? this.#db.sums.get(pgno) : 0n);
      xor ^= sum;
    }
    const checksum = this.#pageCount === 0 ? 0n : xor | CHECKSUM_FLAG;
    if (checksum === position.checksum) return;
    this.#db.tally.checksumFailures++;
    throw new LiteFsError(
      'CHECKSUM_MISMATCH',
      `${this.#db.name}: the resync made ${formatPosition({ txid: position.txid, checksum })}, ` +
        `not ${formatPosition(position)}`,
    );
  }

  /** There is no such database here: the staged file becomes it. */
  *#moveIntoPlace(): Task<void> {
    const db = this.#db;
    const { pageSize, path: file } = this.#image;
    const pageCount = this.#pageCount;
    this.#image.complete(pageCount);
    const target = db.files.backingPath('db');
    fs.mkdirSync(path.dirname(target.toString('latin1')), { recursive: true });
    db.forgetWal();
    const first = this.#image.firstPage();
    if (first && parseDbHeader(first)?.writeVersion === 2) {
      // Before it has its name: from then on readers may come.
      const shape = { pageSize, pageCount, path: file };
      yield* insist(this.#ctx, db, () => letReadersUseWal(this.#ctx, db, shape));
    }
    fs.renameSync(file, target);
    yield;
    db.pageSize = pageSize;
  }

  *#writeOver(): Task<void> {
    const db = this.#db;
    const { pageSize } = this.#image;
    if (
      !db.wal.cursor &&
      db.pageSize === pageSize &&
      !changesVersion(db, this.#image.firstPage())
    ) {
      yield* insist(this.#ctx, db, () => goOverToWal(this.#ctx, db));
    }
    if (db.wal.cursor && db.pageSize === pageSize) {
      yield* insist(this.#ctx, db, () => this.#append());
      return;
    }
    const image = this.#image;
    yield* writePages(this.#ctx, db, {
      pageSize,
      pageCount: this.#pageCount,
      beforeWriting() {},
      *pages(write) {
        let count = 0;
        for (const { pgno, data } of image.pages()) {
          write(pgno, data);
          if (++count % PAGES_PER_STEP === 0) yield;
        }
      },
    });
  }

  *#append(): Task<void> {
    let appender = WalAppender.begin(this.#ctx, this.#db);
    while (!appender) {
      yield* rest(this.#ctx, LOCK_REST_MS);
      appender = WalAppender.begin(this.#ctx, this.#db);
    }
    try {
      yield* this.#fill(appender);
      appender.publish(this.#pageCount);
    } catch (error) {
      appender.abort();
      throw error;
    }
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

  #adopt(position: Position): void {
    const db = this.#db;
    if (db.pageSize !== this.#image.pageSize || db.pageCount === 0) db.sums.clear();
    db.pageSize = this.#image.pageSize;
    db.sums.resize(this.#pageCount);
    for (const { pgno, sum } of this.#image.sums()) {
      if (pgno > this.#pageCount) continue;
      db.sums.set(pgno, sum);
      for (const listener of db.changeListeners) listener.changed(pgno);
    }
    db.position = position;
    db.shown = undefined;
    // The log is empty now: the table alone carries the position.
    savePageSums(db.sumsFile, db.sums, position, db.pageSize);
    db.sumsSavedTxid = position.txid;
    this.#ctx.emitPosition(db);
  }
}
