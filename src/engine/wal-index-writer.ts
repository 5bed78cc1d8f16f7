/** Writing the wal-index of a replica's database: what its readers find their pages by. */
import { LiteFsError } from '../errors.ts';
import type { WalCursor } from '../sqlite/wal.ts';
import {
  buildIndex,
  encodeWalIndexHeader,
  parseWalIndexHeader,
  READ_MARK_NOT_USED,
  type ShmMemory,
  WAL_INDEX_HEADER_BYTES,
  WAL_INDEX_VERSION,
  type WalIndexHeader,
  WalIndexWriter,
} from '../sqlite/wal-index.ts';
import { publishHeader } from '../sqlite/wal-locks.ts';
import type { DatabaseFiles } from './files.ts';
import { shmAccess } from './shm-access.ts';

const BACKFILL_OFFSET = 96;

export class ReplicaIndex {
  readonly #files: DatabaseFiles;
  readonly #hash: WalIndexWriter;
  #change = 0;

  constructor(files: DatabaseFiles) {
    this.#files = files;
    this.#hash = new WalIndexWriter(shmMemory(files));
  }

  /** The present header; undefined when it is being written or was never made. */
  header(): WalIndexHeader | undefined {
    const bytes = Buffer.alloc(WAL_INDEX_HEADER_BYTES);
    this.#files.read('shm', bytes, 0);
    const { header, consistent } = parseWalIndexHeader(bytes);
    return consistent ? header : undefined;
  }

  /** Whether it says that the -wal ends at the cursor. */
  isAt(cursor: WalCursor): boolean {
    const header = this.header();
    return (
      header !== undefined &&
      header.mxFrame === cursor.frame &&
      header.salt1 === cursor.salt1 &&
      header.salt2 === cursor.salt2
    );
  }

  /** Adds frames and makes them visible: the pages of those that are, and of the new ones. The caller holds the write lock. */
  publish(
    known: readonly number[],
    added: readonly number[],
    cursor: WalCursor,
    pageCount: number,
  ): void {
    try {
      this.#hash.append(known.length + 1, added);
    } catch (error) {
      if (!(error instanceof LiteFsError) || error.code !== 'DATABASE_CORRUPT') throw error;
      // A user who may read the database has written over it.
      this.rebuild(cursor, known.concat(added), pageCount);
      return;
    }
    publishHeader(shmAccess(this.#files), this.headerAt(cursor, pageCount));
  }

  /** The log was started over with this header. */
  restarted(): void {
    this.#hash.forget();
  }

  /**
   * Makes the index anew for the frames up to the cursor, `pgnos` their pages. In place: a reader may have
   * the file mapped. The caller holds the write lock; readers that began before see a changed header.
   */
  rebuild(cursor: WalCursor, pgnos: readonly number[], pageCount: number): void {
    this.#hash.forget();
    this.#files.write(
      'shm',
      Buffer.alloc(2 * encodeWalIndexHeader(this.headerAt(cursor, pageCount)).length),
      0,
    );
    this.#files.write('shm', buildIndex(pgnos), WAL_INDEX_HEADER_BYTES);
    this.#files.write('shm', unusedMarks(), BACKFILL_OFFSET);
    publishHeader(shmAccess(this.#files), this.headerAt(cursor, pageCount));
  }

  /** What the header is to be, of the next change. */
  headerAt(cursor: WalCursor, pageCount: number): WalIndexHeader {
    this.#change = ((this.header()?.change ?? this.#change) + 1) >>> 0;
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

/** Nothing backfilled, read mark 0 in use, the others free, lock bytes, and no attempt. */
function unusedMarks(): Buffer {
  const bytes = Buffer.alloc(WAL_INDEX_HEADER_BYTES - BACKFILL_OFFSET);
  for (let at = 8; at < 24; at += 4) bytes.writeUInt32LE(READ_MARK_NOT_USED, at);
  bytes.writeUInt32LE(0, 8);
  return bytes;
}

function shmMemory(files: DatabaseFiles): ShmMemory {
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
