/**
 * Appends transactions to a -wal as a SQLite writer would: frames with salts and cumulative checksums, under the write lock.
 * Readers keep their snapshots; neither side waits for the other. Any number of transactions become visible with one
 * publish().
 */
import assert from 'node:assert';
import {
  encodeFrame,
  frameOffset,
  WAL_FRAME_HEADER_BYTES,
  type WalCursor,
} from '../../sqlite/wal.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { readCurrentPage } from '../read/current-page.ts';
import { rest } from '../tasks/rest.ts';
import type { Task } from '../tasks/scheduler.ts';
import { checkpoint } from './checkpoints.ts';

const LOCK_REST_MS = 1;
/** After this long with a reader in the way, the status says so. */
const PATIENCE_MS = 5000;
const WAITS =
  'its pages get another size, which waits for a reader here to end the transaction in which it is';
const OUT_BYTES = 1 << 20;
/** Of an appender that has ended: a buffer made anew for each would keep the garbage collector busy. */
let spareOut: Buffer | undefined;

export interface AppendMark {
  readonly cursor: WalCursor;
  readonly frames: number;
}

export class WalAppender {
  readonly #db: Database;
  readonly #pageSize: number;
  #cursor: WalCursor;
  /** Page of each frame written since begin, in order. */
  readonly #pgnos: number[] = [];
  /** Frames that are not written yet: the last ones of #pgnos. */
  readonly #out: Buffer;
  #outBytes = 0;

  /**
   * Takes the write lock, behind an application that has it for a moment. For pages of another size it waits until
   * nobody reads from the -wal, without keeping new readers out. Throws WRONG_STATE when the node stops.
   */
  static *begin(ctx: EngineContext, db: Database, pageSize: number): Task<WalAppender> {
    const sayAtMs = ctx.clockMs() + PATIENCE_MS;
    for (;;) {
      const appender = WalAppender.try(ctx, db, pageSize);
      if (appender) return appender;
      if (pageSize !== db.owner.cursor.pageSize) {
        yield* checkpoint(ctx, db);
        if (ctx.clockMs() > sayAtMs) ctx.setStatus(db, { state: 'degraded', reason: WAITS });
      }
      yield* rest(ctx, LOCK_REST_MS);
    }
  }

  /** The same without waiting. */
  static try(ctx: EngineContext, db: Database, pageSize: number): WalAppender | undefined {
    const { owner } = db;
    if (!owner.take(db.pageCount)) return undefined;
    // What is in the database file already need not stay in the -wal.
    try {
      if (owner.keepsLock || owner.restart(pageSize, db.pageCount, ctx.random32))
        return new WalAppender(db);
    } catch (error) {
      owner.release();
      throw error;
    }
    if (pageSize === owner.cursor.pageSize) return new WalAppender(db);
    owner.release();
    return undefined;
  }

  private constructor(db: Database) {
    this.#db = db;
    this.#cursor = { ...db.owner.cursor };
    this.#pageSize = this.#cursor.pageSize;
    this.#out = spareOut ?? Buffer.allocUnsafeSlow(OUT_BYTES);
    spareOut = undefined;
  }

  /** Adds a frame; `commit`: the size of the database in pages when it ends a transaction, else 0. */
  frame(pgno: number, data: Uint8Array, commit: number): void {
    assert.equal(data.length, this.#pageSize);
    const frameBytes = this.#frameBytes;
    if (this.#outBytes + frameBytes > this.#out.length) this.write();
    const into = this.#out.subarray(this.#outBytes, this.#outBytes + frameBytes);
    encodeFrame(this.#cursor, pgno, commit, data, into);
    this.#outBytes += frameBytes;
    this.#pgnos.push(pgno);
  }

  /** Where it stands; rewind() goes back there. */
  mark(): AppendMark {
    return { cursor: { ...this.#cursor }, frames: this.#pgnos.length };
  }

  /** Forgets the frames since a mark. */
  rewind(mark: AppendMark): void {
    const dropped = (this.#pgnos.length - mark.frames) * this.#frameBytes;
    this.#cursor = { ...mark.cursor };
    this.#pgnos.length = mark.frames;
    // What is written already will be written over.
    this.#outBytes = Math.max(0, this.#outBytes - dropped);
  }

  /** A transaction that changes the size only: its commit frame must hold some page. */
  repeatFirstPage(commit: number): void {
    const page = Buffer.allocUnsafe(this.#pageSize);
    const here = this.#pgnos.lastIndexOf(1);
    if (here < 0) {
      readCurrentPage(this.#db, 1, page);
    } else {
      this.write();
      const frame = this.#db.owner.cursor.frame + 1 + here;
      this.#db.files.read('wal', page, frameOffset(frame, this.#pageSize) + WAL_FRAME_HEADER_BYTES);
    }
    this.frame(1, page, commit);
  }

  /** Writes the frames out, which stay invisible. Throws what the disk says; then it may be called again. */
  write(): void {
    if (this.#outBytes === 0) return;
    const first = this.#cursor.frame + 1 - this.#outBytes / this.#frameBytes;
    const offset = frameOffset(first, this.#pageSize);
    this.#db.files.write('wal', this.#out.subarray(0, this.#outBytes), offset);
    this.#outBytes = 0;
  }

  /** Makes all frames visible. The last one must have been a commit. */
  publish(pageCount: number): void {
    this.write();
    this.#db.owner.publish(this.#pgnos, this.#cursor, pageCount);
    this.abort();
  }

  /** Leaves what was appended and not published invisible: the next writer overwrites it. */
  abort(): void {
    spareOut = this.#out;
    this.#db.owner.release();
  }

  get #frameBytes(): number {
    return this.#pageSize + WAL_FRAME_HEADER_BYTES;
  }
}
