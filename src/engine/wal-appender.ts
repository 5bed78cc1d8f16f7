/**
 * Appends transactions to the -wal of a replica's database as a SQLite writer would: frames with salts and
 * cumulative checksums, hash tables and header of the wal-index, under the WAL write lock. Readers keep
 * their snapshots; neither side waits for the other. Any number of transactions become
 * visible with one publish().
 */
import assert from 'node:assert';
import { DMS_BYTE, WAL_LOCK_BASE, WAL_WRITE_SLOT } from '../sqlite/locks.ts';
import {
  encodeFrame,
  encodeWalHeader,
  frameOffset,
  parseWalHeader,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  type WalCursor,
  walCursorAtStart,
} from '../sqlite/wal.ts';
import type { EngineContext } from './context.ts';
import { readCurrentPage } from './current-page.ts';
import type { Database } from './database.ts';
import { OpenWouldBlock } from './files.ts';

const OUT_BYTES = 1 << 20;
const MODE = 0o644;
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
  static begin(ctx: EngineContext, db: Database, pageSize: number): WalAppender | undefined {
    try {
      ensureWal(ctx, db, pageSize);
    } catch (error) {
      if (error instanceof OpenWouldBlock) return undefined;
      throw error;
    }
    if (!db.files.lock('shm', 'read', DMS_BYTE, 1)) return undefined;
    if (!db.files.lock('shm', 'write', WAL_LOCK_BASE + WAL_WRITE_SLOT, 1)) return undefined;
    const cursor = db.wal.cursor as WalCursor;
    if (!db.index.isAt(cursor)) db.index.rebuild(cursor, db.wal.pages, db.pageCount);
    return new WalAppender(db, pageSize, cursor);
  }

  private constructor(db: Database, pageSize: number, cursor: WalCursor) {
    this.#db = db;
    this.#pageSize = pageSize;
    this.#cursor = { ...cursor };
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
    if (this.#db.lent) return;
    this.#db.files.lock('shm', 'unlock', WAL_LOCK_BASE + WAL_WRITE_SLOT, 1);
  }
}

/**
 * Makes -wal and -shm when they are absent, so that readers, who may not create them, can open the database. Throws
 * OpenWouldBlock; then it is to be called again.
 */
export function ensureWal(ctx: EngineContext, db: Database, pageSize: number): void {
  db.files.create('shm', MODE);
  db.files.create('wal', MODE);
  if (db.wal.cursor) return;
  const head = Buffer.alloc(WAL_HEADER_BYTES);
  const read = db.files.read('wal', head, 0);
  const existing = read === WAL_HEADER_BYTES ? parseWalHeader(head) : undefined;
  assert(!existing || db.files.size('wal') === WAL_HEADER_BYTES, `${db.name}-wal was not followed`);
  const header = {
    bigEndian: false,
    pageSize,
    checkpointSequence: 0,
    salt1: ctx.random32(),
    salt2: ctx.random32(),
  };
  db.files.truncate('wal', 0);
  db.files.write('wal', encodeWalHeader(header), 0);
  db.forgetWal();
  const written = Buffer.alloc(WAL_HEADER_BYTES);
  db.files.read('wal', written, 0);
  const parsed = parseWalHeader(written);
  assert(parsed, 'a -wal header that we wrote is not one');
  db.wal.cursor = walCursorAtStart(parsed);
}
