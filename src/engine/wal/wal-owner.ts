/**
 * The owner of a -wal: on a replica of all of it, on a primary of its end while the write lock is lent (halt/lender.ts). It
 * writes and publishes frames, remakes the wal-index, copies frames into the database file and starts the -wal over, each as
 * SQLite does, under SQLite's locks. Not by a SQLite connection: that would hold POSIX locks in our process.
 *
 * Invariants:
 * - `cursor` is behind the last published frame, and `frames` has the newest frame of each page up to there that is not known to
 *   be in the database file, as readers see it.
 * - A read mark that is held is never changed, and nothing that its snapshot needs is overwritten.
 * - A page is written into the database file only when the log and the -wal that can redo it are on disk, and when the
 *   wal-index says that it is about to be.
 * - Readers may write the -shm. Of what is in it, locks and read marks are heeded, and that it says where the -wal ends.
 * - The deadman switch is held while the -wal is served, so no reader takes the -shm for a left-over and recovers it. So is
 *   SHARED on a replica's file, as by every connection: one that gets EXCLUSIVE when it closes copies frames and heeds no lock.
 */
import assert from 'node:assert';
import { LiteFsError } from '../../errors.ts';
import {
  DMS_BYTE,
  SHARED_FIRST,
  SHARED_SIZE,
  WAL_CKPT_SLOT,
  WAL_LOCK_BASE,
  WAL_READ_SLOT,
  WAL_WRITE_SLOT,
} from '../../sqlite/locks.ts';
import {
  encodeFrame,
  encodeWalHeader,
  frameOffset,
  parseWalHeader,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  type WalCursor,
  walCursorAtStart,
} from '../../sqlite/wal.ts';
import {
  buildIndex,
  parseWalIndexHeader,
  type ShmMemory,
  WAL_INDEX_COPY_BYTES,
  WAL_INDEX_HEADER_BYTES,
  WAL_INDEX_VERSION,
  type WalIndexHeader,
  WalIndexWriter,
} from '../../sqlite/wal-index.ts';
import {
  checkpointLimit,
  noteAttempt,
  noteBackfill,
  publishHeader,
  resetMarks,
  type ShmAccess,
  tryRestart,
} from '../../sqlite/wal-locks.ts';
import type { DatabaseFiles } from '../files/files.ts';
import { giveToReaders } from '../files/ownership.ts';
import { shmAccess } from '../files/shm-access.ts';
import type { Task } from '../tasks/scheduler.ts';
import type { WalFollowed } from './wal-follow.ts';

/** A -wal that has grown past this is cut when it is started over. */
const WAL_KEEP_BYTES = 16 << 20;
const PAGES_PER_STEP = 256;
/** Of a file that is not complete. */
const OURS_ALONE = 0o600;

/** Where the -wal of a database ends; undefined without one. */
export interface WalEnd {
  cursor: WalCursor | undefined;
  readonly frames: Map<number, number>;
}

export class WalOwner {
  readonly #files: DatabaseFiles;
  readonly #wal: WalEnd;
  readonly #shm: ShmAccess;
  readonly #hash: WalIndexWriter;
  #change = 0;
  /** Frames of a generation that are in the database file. The wal-index has it as well, where readers may write. */
  #copied = { salt1: 0, salt2: 0, frame: 0 };
  /** The write lock is held for another node: release() leaves it. */
  keepsLock = false;

  constructor(files: DatabaseFiles, wal: WalEnd) {
    this.#files = files;
    this.#wal = wal;
    this.#shm = shmAccess(files);
    this.#hash = new WalIndexWriter(memoryOf(files));
  }

  /** Where the -wal ends. There must be one. */
  get cursor(): WalCursor {
    const { cursor } = this.#wal;
    assert(cursor, 'a -wal that is owned has an end');
    return cursor;
  }

  /** Frames that are not known to be in the database file. */
  get framesToCopy(): number {
    return this.#wal.cursor ? this.cursor.frame - this.#backfilled : 0;
  }

  /** None of a generation that an application has begun. */
  get #backfilled(): number {
    return isOf(this.#copied, this.cursor) ? this.#copied.frame : 0;
  }

  set #backfilled(frame: number) {
    const { salt1, salt2 } = this.cursor;
    this.#copied = { salt1, salt2, frame };
  }

  /**
   * Makes -wal and -shm, empty and whole. No connection may use them: there is no database yet, or no mount, or EXCLUSIVE is
   * held. `like`: the database file, if it does not have its name yet.
   */
  make(pageSize: number, pageCount: number, random32: () => number, like?: string): void {
    for (const kind of ['shm', 'wal'] as const) {
      if (this.#files.isReplaced(kind)) this.#files.close(kind);
      this.#files.create(kind, OURS_ALONE);
    }
    this.#files.truncate('wal', 0);
    this.#writeHeader(pageSize, 0, random32(), random32());
    this.#remake(pageCount);
    giveToReaders(this.#files, like);
  }

  /**
   * Takes the write lock, and sees to it that the wal-index says where the -wal ends. false when another process has a lock
   * that is needed, for a moment: a reader that recovers the index, or an application under the halt lock.
   */
  take(pageCount: number): boolean {
    if (!this.#files.lock('shm', 'read', DMS_BYTE, 1)) return false;
    // While it is lent the lender holds that.
    if (!this.keepsLock && !this.#files.lock('db', 'read', SHARED_FIRST, SHARED_SIZE)) return false;
    if (!this.#files.lock('shm', 'write', WRITE_BYTE, 1)) return false;
    if (!this.#isAt(this.cursor) && !this.#remake(pageCount)) {
      this.release();
      return false;
    }
    // An administrator may have changed those of the database.
    if (!this.keepsLock) giveToReaders(this.#files);
    return true;
  }

  /** Lets the write lock go, unless it is lent. */
  release(): void {
    if (!this.keepsLock) this.#files.lock('shm', 'unlock', WRITE_BYTE, 1);
  }

  /** Makes frames visible that are written behind the cursor, the last of them a commit. Under the write lock. */
  publish(pgnos: readonly number[], end: WalCursor, pageCount: number): void {
    const first = this.cursor.frame + 1;
    try {
      this.#hash.append(first, pgnos);
    } catch (error) {
      if (!(error instanceof LiteFsError) || error.code !== 'DATABASE_CORRUPT') throw error;
      // A user who may read the database has written over it.
      this.#hash.forget();
      this.#writeTables(end.frame);
    }
    publishHeader(this.#shm, this.#headerAt(end, pageCount));
    for (let i = 0; i < pgnos.length; i++) this.#wal.frames.set(pgnos[i], first + i);
    this.#wal.cursor = end;
  }

  /**
   * Takes the write lock of a -wal that applications have written up to the cursor, whose checksums need not be right. Frames
   * behind it were never acknowledged. false when it cannot be had.
   */
  reclaim(pageCount: number, random32: () => number): boolean {
    if (!this.#files.lock('shm', 'write', WRITE_BYTE, 1)) return false;
    this.#hash.forget();
    const { cursor } = this;
    const { header, consistent } = this.#read();
    if (cursor.frame === 0) {
      // Started over or emptied, maybe only half: it begins anew.
      this.#writeHeader(cursor.pageSize, 0, random32(), random32());
      this.#files.truncate('wal', WAL_HEADER_BYTES);
    } else if (consistent && isOf(header, cursor) && header.mxFrame === cursor.frame) {
      cursor.checksum1 = header.frameChecksum1;
      cursor.checksum2 = header.frameChecksum2;
    } else {
      this.#chainFrames();
    }
    return this.take(pageCount);
  }

  /**
   * A -wal that applications have written, whose write lock is held and all of which is `captured`: the next frame goes behind
   * that. Without frames that count, its header is written, as the next writer would. The wal-index may be a left-over of a
   * process that has died, and is made to agree. false when an application checkpoints just now.
   */
  adopt(
    captured: WalFollowed,
    db: { pageSize: number; pageCount: number },
    random32: () => number,
  ): boolean {
    this.#hash.forget();
    const { header, consistent } = this.#read();
    const found = this.#walHeader();
    this.#wal.frames.clear();
    // All bytes of a header are in its checksum: another one is of a generation in which nothing was committed.
    const { generation } = captured;
    const isIt =
      found?.checksum1 === generation?.checksum1 && found?.checksum2 === generation?.checksum2;
    if (found && isIt && captured.frame > 0) {
      const { frame, checksum1, checksum2 } = captured;
      this.#wal.cursor = { ...walCursorAtStart(found), frame, checksum1, checksum2 };
      for (const [i, pgno] of this.#pagesInWal(frame).entries()) this.#wal.frames.set(pgno, i + 1);
    } else {
      const announced =
        consistent && header.mxFrame === 0 && header.salt1 !== 0 ? header : undefined;
      const sequence = found ? (found.checkpointSequence + 1) >>> 0 : 0;
      const salt1 = announced?.salt1 ?? (found ? (found.salt1 + 1) >>> 0 : random32());
      this.#writeHeader(db.pageSize, sequence, salt1, announced?.salt2 ?? random32());
    }
    return this.#isAt(this.cursor) || this.#remake(db.pageCount);
  }

  /**
   * Copies frames into the database file, which has `pageCount` pages then, as far as readers allow; whether that was all.
   * `syncLog` has the log on disk. Throws what the disk says; then it may be called again.
   */
  *checkpoint(pageCount: number, syncLog: () => void): Task<boolean> {
    const { cursor } = this;
    if (this.framesToCopy > 0) {
      // Before readers are looked at, and kept out: the disk may take its time.
      syncLog();
      this.#files.sync('wal');
    }
    if (!this.#shm.lock(WAL_CKPT_SLOT, 1, 'exclusive')) return false;
    try {
      if (!this.#isAt(cursor)) return false;
      const limit = checkpointLimit(this.#shm, this.#headerAt(cursor, pageCount));
      if (limit > this.#backfilled) {
        if (!this.#shm.lock(WAL_READ_SLOT(0), 1, 'exclusive')) return false;
        try {
          noteAttempt(this.#shm, limit);
          yield* this.#copy(limit, pageCount);
          const size = pageCount * cursor.pageSize;
          if (limit === cursor.frame && this.#files.size('db') > size)
            this.#files.truncate('db', size);
          this.#files.sync('db');
          noteBackfill(this.#shm, limit);
          this.#backfilled = limit;
          // New readers go to the file for these, and so do we.
          for (const [pgno, frame] of this.#wal.frames) {
            if (frame <= limit) this.#wal.frames.delete(pgno);
          }
        } finally {
          this.#shm.unlock(WAL_READ_SLOT(0), 1);
        }
      }
      return limit === cursor.frame;
    } finally {
      this.#shm.unlock(WAL_CKPT_SLOT, 1);
    }
  }

  /**
   * Has the next frame be the first of a new generation, with pages of this size: when all is in the database file and nobody
   * reads from the -wal. Returns false when it is not so. Under the write lock.
   */
  restart(pageSize: number, pageCount: number, random32: () => number): boolean {
    const { cursor } = this;
    if (cursor.frame === 0 && cursor.pageSize === pageSize) return true;
    if (this.#backfilled < cursor.frame) return false;
    const header = this.#headerAt(cursor, pageCount);
    // Without frames readers go to the database file, and the salts of the index are those of the next generation.
    const restarted = cursor.frame === 0 ? header : tryRestart(this.#shm, header, random32());
    if (!restarted) return false;
    const sequence = ((this.#walHeader()?.checkpointSequence ?? 0) + 1) >>> 0;
    this.#writeHeader(pageSize, sequence, restarted.salt1, restarted.salt2);
    // Behind its header: SQLite takes an empty one for none, and reads by rollback-journal rules then.
    if (this.#files.size('wal') > WAL_KEEP_BYTES) this.#files.truncate('wal', WAL_HEADER_BYTES);
    // Else frames could follow that are not of the generation that the disk has the header of.
    this.#files.sync('wal');
    this.#hash.forget();
    return true;
  }

  /** restart(), behind an application that has the write lock for a moment; false when it does not let us. */
  startOver(db: { pageSize: number; pageCount: number }, random32: () => number): boolean {
    if (!this.take(db.pageCount)) return false;
    try {
      return this.restart(db.pageSize, db.pageCount, random32);
    } finally {
      this.release();
    }
  }

  #walHeader() {
    const bytes = Buffer.alloc(WAL_HEADER_BYTES);
    const read = this.#files.read('wal', bytes, 0);
    return read === WAL_HEADER_BYTES ? parseWalHeader(bytes) : undefined;
  }

  /** The -wal begins with this, and has no frames. */
  #writeHeader(pageSize: number, checkpointSequence: number, salt1: number, salt2: number): void {
    const bytes = encodeWalHeader({ bigEndian: false, pageSize, checkpointSequence, salt1, salt2 });
    this.#files.write('wal', bytes, 0);
    const parsed = parseWalHeader(bytes);
    assert(parsed, 'a -wal header that we wrote is not one');
    this.#wal.frames.clear();
    this.#wal.cursor = walCursorAtStart(parsed);
    this.#backfilled = 0;
  }

  /** Copies the newest image of each page up to a frame that is not in the file yet, in the order of pages. */
  *#copy(limit: number, pageCount: number): Task<void> {
    const { frame: last, pageSize } = this.cursor;
    const from = this.#backfilled;
    const newest = limit === last ? this.#wal.frames : this.#newestUpTo(limit);
    const pgnos: number[] = [];
    for (const [pgno, frame] of newest) if (frame > from && pgno <= pageCount) pgnos.push(pgno);
    const page = Buffer.allocUnsafe(pageSize);
    let copied = 0;
    for (const pgno of Uint32Array.from(pgnos).sort()) {
      const frame = newest.get(pgno) as number;
      const offset = frameOffset(frame, pageSize) + WAL_FRAME_HEADER_BYTES;
      assert.equal(this.#files.read('wal', page, offset), pageSize, `frame ${frame} of a -wal`);
      this.#files.write('db', page, (pgno - 1) * pageSize);
      if (++copied % PAGES_PER_STEP === 0) yield;
    }
  }

  #newestUpTo(limit: number): Map<number, number> {
    const newest = new Map<number, number>();
    for (const [i, pgno] of this.#pagesInWal(limit).entries()) newest.set(pgno, i + 1);
    return newest;
  }

  #read(): ReturnType<typeof parseWalIndexHeader> {
    return parseWalIndexHeader(this.#shm.readShm(0, WAL_INDEX_HEADER_BYTES));
  }

  #isAt(cursor: WalCursor): boolean {
    const { header, consistent } = this.#read();
    return (
      consistent &&
      isOf(header, cursor) &&
      header.mxFrame === cursor.frame &&
      isBehind(header, cursor)
    );
  }

  /**
   * Makes the wal-index say where the -wal ends, as SQLite's recovery does, in place: the frames of a snapshot that is being read
   * get the entries that they had, and its mark stays. New readers wait meanwhile, and are told nothing: RECOVER, for which
   * they would be told SQLITE_BUSY, is not taken. false when an application checkpoints just now.
   */
  #remake(pageCount: number): boolean {
    const { cursor } = this;
    this.#hash.forget();
    if (!this.#shm.lock(WAL_CKPT_SLOT, 1, 'exclusive')) return false;
    try {
      this.#files.write('shm', Buffer.alloc(2 * WAL_INDEX_COPY_BYTES), 0);
      this.#writeTables(cursor.frame);
      resetMarks(this.#shm, cursor.frame);
      // They stay in the file, and `frames` does without them.
      noteBackfill(this.#shm, this.#backfilled);
      publishHeader(this.#shm, this.#headerAt(cursor, pageCount));
      return true;
    } finally {
      this.#shm.unlock(WAL_CKPT_SLOT, 1);
    }
  }

  /** Of the first frames. The page of each stays where it was: readers of older snapshots go on. */
  #writeTables(frame: number): void {
    this.#files.write('shm', buildIndex(this.#pagesInWal(frame)), WAL_INDEX_HEADER_BYTES);
  }

  /** Writes the frames up to the cursor once more, with the salts and checksums that they should have. */
  #chainFrames(): void {
    const found = this.#walHeader();
    assert(found && isOf(found, this.cursor), 'the -wal is of the generation that was followed');
    const { frame: last, pageSize } = this.cursor;
    const cursor = walCursorAtStart(found);
    const bytes = Buffer.allocUnsafe(pageSize + WAL_FRAME_HEADER_BYTES);
    while (cursor.frame < last) {
      const at = frameOffset(cursor.frame + 1, pageSize);
      this.#files.read('wal', bytes, at);
      const [pgno, commit] = [bytes.readUInt32BE(0), bytes.readUInt32BE(4)];
      encodeFrame(cursor, pgno, commit, Buffer.from(bytes.subarray(WAL_FRAME_HEADER_BYTES)), bytes);
      this.#files.write('wal', bytes.subarray(0, WAL_FRAME_HEADER_BYTES), at);
    }
    this.#wal.cursor = cursor;
  }

  /** The pages of the first frames, as those have them: what the wal-index says, readers may have written. */
  #pagesInWal(count: number): number[] {
    const { pageSize } = this.cursor;
    const pgnos: number[] = [];
    const bytes = Buffer.alloc(4);
    for (let frame = 1; frame <= count; frame++) {
      this.#files.read('wal', bytes, frameOffset(frame, pageSize));
      pgnos.push(bytes.readUInt32BE(0));
    }
    return pgnos;
  }

  #headerAt(cursor: WalCursor, pageCount: number): WalIndexHeader {
    this.#change = (Math.max(this.#read().header.change, this.#change) + 1) >>> 0;
    return {
      version: WAL_INDEX_VERSION,
      change: this.#change,
      isInit: true,
      bigEndian: cursor.bigEndian,
      pageSize: cursor.pageSize,
      mxFrame: cursor.frame,
      pageCount,
      frameChecksum1: cursor.checksum1,
      frameChecksum2: cursor.checksum2,
      salt1: cursor.salt1,
      salt2: cursor.salt2,
    };
  }
}

const WRITE_BYTE = WAL_LOCK_BASE + WAL_WRITE_SLOT;

/** Of the same generation. */
function isOf(header: { salt1: number; salt2: number }, cursor: WalCursor): boolean {
  return header.salt1 === cursor.salt1 && header.salt2 === cursor.salt2;
}

/** Whether it ends with the same frame; a new generation has none. */
function isBehind(header: WalIndexHeader, cursor: WalCursor): boolean {
  if (cursor.frame === 0) return true;
  return header.frameChecksum1 === cursor.checksum1 && header.frameChecksum2 === cursor.checksum2;
}

function memoryOf(files: DatabaseFiles): ShmMemory {
  return {
    read(offset, length) {
      const bytes = Buffer.alloc(length);
      files.read('shm', bytes, offset);
      return bytes;
    },
    write(offset, bytes) {
      files.write('shm', bytes, offset);
    },
  };
}
