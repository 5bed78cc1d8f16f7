/**
 * Appends transactions to the -wal of a replica's database as a SQLite writer would: frames with salts and
 * cumulative checksums, hash tables and header of the wal-index, under the WAL write lock. Readers keep
 * their snapshots; neither side waits for the other. Any number of transactions become
 * visible with one publish().
 */
import assert from 'node:assert';
import { encodeFrame, frameOffset, WAL_FRAME_HEADER_BYTES, type WalCursor } from '../sqlite/wal.ts';
import type { EngineContext } from './context.ts';
import { readCurrentPage } from './current-page.ts';
import type { Database } from './database.ts';
import { OpenWouldBlock } from './files.ts';
import { leaveWal, takeWal } from './readers-wal.ts';

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
   * Takes the write lock. undefined when somebody else has it: an app that recovers the wal-index just now; or when a
   * name is to be looked up first.
   * The -wal and its index are made when absent, and the index anew when it is not what it should be.
   */
  static begin(ctx: EngineContext, db: Database): WalAppender | undefined {
    try {
      if (!takeWal(ctx, db)) return undefined;
    } catch (error) {
      if (error instanceof OpenWouldBlock) return undefined;
      throw error;
    }
    return new WalAppender(db);
  }

  private constructor(db: Database) {
    this.#db = db;
    this.#pageSize = db.pageSize;
    this.#cursor = { ...(db.wal.cursor as WalCursor) };
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
      const frame = (this.#db.wal.cursor as WalCursor).frame + 1 + here;
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
    const db = this.#db;
    const before = db.wal.cursor as WalCursor;
    db.index.publish(db.wal.pages, this.#pgnos, this.#cursor, pageCount);
    for (let i = 0; i < this.#pgnos.length; i++) {
      db.wal.frames.set(this.#pgnos[i], before.frame + 1 + i);
      db.wal.pages.push(this.#pgnos[i]);
    }
    db.wal.cursor = this.#cursor;
    this.#end();
  }

  /** Leaves what was appended invisible: the next writer overwrites it. */
  abort(): void {
    this.#end();
  }

  get #frameBytes(): number {
    return this.#pageSize + WAL_FRAME_HEADER_BYTES;
  }

  #end(): void {
    spareOut = this.#out;
    leaveWal(this.#db);
  }
}
