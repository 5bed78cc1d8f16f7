/**
 * A consistent view of all pages of a database, as a SQLite reader would have it.
 *
 * WAL mode: a shared lock on a read slot, whose mark keeps checkpoints and resets away from the frames up
 * to it. Rollback mode: SHARED on the database file. Without a wal-index (the node is not
 * mounted yet, or the app keeps it in its own memory) the view rests on nobody writing, or is refused.
 */
import { databasePageCount, isPageCountValid, parseDbHeader } from '../sqlite/db-header.ts';
import { PENDING_BYTE, SHARED_FIRST, SHARED_SIZE } from '../sqlite/locks.ts';
import {
  frameOffset,
  parseWalHeader,
  readFrames,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  type WalCursor,
  walCursorAtStart,
} from '../sqlite/wal.ts';
import type { WalIndexHeader } from '../sqlite/wal-index.ts';
import { beginRead, endRead } from '../sqlite/wal-locks.ts';
import type { Database } from './database.ts';
import { shmAccess } from './shm-access.ts';

export interface ConsistentRead {
  readonly pageSize: number;
  readonly pageCount: number;
  /** Whether the file holds as many pages as its header says: not, while it is being copied. */
  readonly isWhole: boolean;
  /** Where the -wal stands in this view. */
  readonly wal:
    | { readonly cursor: WalCursor; readonly frames: ReadonlyMap<number, number> }
    | undefined;
  /** Without frames of a -wal in the view: the first salt of the generation that comes next, if known. */
  readonly nextSalt1: number | undefined;
  /** Fills `into` with a page; zeros past the end of the file. */
  page(pgno: number, into: Buffer): void;
  /** Whether nobody has begun to write meanwhile in a way that our locks did not keep out. */
  isUndisturbed(): boolean;
  end(): void;
}

const CHUNK_BYTES = 1 << 20;
const BEGIN_ATTEMPTS = 100;

/** 'busy' when a lock is in the way. `locked`: the caller knows that nobody can write. */
export function beginConsistentRead(
  db: Database,
  options: { locked: boolean },
): ConsistentRead | 'busy' | 'not-a-database' {
  const unlock = lockForReading(db, options.locked);
  if (unlock === 'busy') return 'busy';
  try {
    const wal = unlock.wal === 'scan' ? scanWal(db, unlock.mxFrame) : unlock.wal;
    const view = openView(db, wal, unlock);
    if (view === 'not-a-database') unlock.release();
    return view;
  } catch (error) {
    unlock.release();
    throw error;
  }
}

interface ReadLock {
  /** Frames up to here belong to the view; undefined: all that are valid. */
  readonly mxFrame: number | undefined;
  /** scan: the frames are to be read. Else what is known of the -wal: all of it is in the database file. */
  readonly wal: WalView | 'scan' | undefined;
  readonly nextSalt1: number | undefined;
  release(): void;
}

function lockForReading(db: Database, locked: boolean): ReadLock | 'busy' {
  if (locked) return { mxFrame: undefined, wal: 'scan', nextSalt1: firstSalt(db), release() {} };
  if (!lockShared(db)) return 'busy';
  const releaseShared = () => {
    db.files.lock('db', 'unlock', SHARED_FIRST, SHARED_SIZE);
  };
  if (db.files.size('wal') === 0 || db.files.size('shm') === 0) {
    const nextSalt1 = firstSalt(db);
    return { mxFrame: undefined, wal: 'scan', nextSalt1, release: releaseShared };
  }
  const shm = shmAccess(db.files);
  for (let attempt = 0; attempt < BEGIN_ATTEMPTS; attempt++) {
    const read = beginRead(shm);
    if (read === 'busy') break;
    if (read === 'retry') continue;
    const { header } = read;
    return {
      mxFrame: header.mxFrame,
      // Through slot 0 a writer may start the -wal over at any time: nothing of it may be read.
      wal: read.slot === 0 ? backfilledView(header) : 'scan',
      nextSalt1: header.salt1,
      release() {
        endRead(shm, read);
        releaseShared();
      },
    };
  }
  releaseShared();
  return 'busy';
}

/** The first salt of the generation whose header is in the -wal. */
function firstSalt(db: Database): number | undefined {
  const bytes = Buffer.alloc(WAL_HEADER_BYTES);
  if (db.files.read('wal', bytes, 0) < WAL_HEADER_BYTES) return undefined;
  return parseWalHeader(bytes)?.salt1;
}

/** SHARED, as SQLite takes it: through PENDING, so that a waiting writer keeps us out. */
function lockShared(db: Database): boolean {
  if (!db.files.lock('db', 'read', PENDING_BYTE, 1)) return false;
  const shared = db.files.lock('db', 'read', SHARED_FIRST, SHARED_SIZE);
  db.files.lock('db', 'unlock', PENDING_BYTE, 1);
  return shared;
}

interface WalView {
  readonly cursor: WalCursor;
  readonly frames: Map<number, number>;
  readonly commit: number;
}

/** A -wal of which everything is in the database file. */
function backfilledView(header: WalIndexHeader): WalView | undefined {
  if (header.mxFrame === 0) return undefined;
  return {
    cursor: {
      pageSize: header.pageSize,
      bigEndian: header.bigEndian,
      salt1: header.salt1,
      salt2: header.salt2,
      frame: header.mxFrame,
      checksum1: header.frameChecksum1,
      checksum2: header.frameChecksum2,
    },
    frames: new Map(),
    commit: header.pageCount,
  };
}

/** Which frames of the -wal belong to the view. undefined when none does. */
export function scanWal(db: Database, mxFrame: number | undefined): WalView | undefined {
  const headerBytes = Buffer.alloc(WAL_HEADER_BYTES);
  if (mxFrame === 0 || db.files.read('wal', headerBytes, 0) < WAL_HEADER_BYTES) return undefined;
  const header = parseWalHeader(headerBytes);
  if (!header) return undefined;
  const frameBytes = header.pageSize + WAL_FRAME_HEADER_BYTES;
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / frameBytes));
  const chunk = Buffer.allocUnsafeSlow(perChunk * frameBytes);
  const frames = new Map<number, number>();
  let cursor = walCursorAtStart(header);
  let committed: WalView | undefined;
  const open: number[] = [];
  const limit = mxFrame ?? Number.MAX_SAFE_INTEGER;
  while (cursor.frame < limit) {
    const count = Math.min(perChunk, limit - cursor.frame);
    const offset = frameOffset(cursor.frame + 1, header.pageSize);
    const read = db.files.read('wal', chunk.subarray(0, count * frameBytes), offset);
    const whole = Math.floor(read / frameBytes);
    let valid = 0;
    // One frame at a time: the cursor must be known at each commit.
    for (; valid < whole; valid++) {
      const next = { ...cursor };
      let commit = 0;
      let last = 0;
      const frame = chunk.subarray(valid * frameBytes, (valid + 1) * frameBytes);
      const ok = readFrames(next, frame, (number, pgno, commitPages) => {
        open.push(pgno);
        last = number;
        commit = commitPages;
      });
      if (ok === 0) break;
      cursor = next;
      if (commit === 0) continue;
      for (let i = 0; i < open.length; i++) frames.set(open[i], last - open.length + 1 + i);
      open.length = 0;
      committed = { cursor: { ...cursor }, frames, commit };
    }
    if (valid < count) break;
  }
  return committed;
}

function openView(
  db: Database,
  wal: WalView | undefined,
  lock: ReadLock,
): ConsistentRead | 'not-a-database' {
  const head = Buffer.alloc(100);
  const firstFrame = wal?.frames.get(1);
  if (wal && firstFrame !== undefined) {
    const at = frameOffset(firstFrame, wal.cursor.pageSize) + WAL_FRAME_HEADER_BYTES;
    db.files.read('wal', head, at);
  } else {
    db.files.read('db', head, 0);
  }
  const header = parseDbHeader(head);
  if (!header) return 'not-a-database';
  const { pageSize } = header;
  const sizeBefore = db.files.size('db');
  const pageCount = wal ? wal.commit : databasePageCount(header, sizeBefore);
  return {
    pageSize,
    pageCount,
    isWhole: wal !== undefined || !isPageCountValid(header) || header.pageCount === pageCount,
    wal,
    nextSalt1: wal ? undefined : lock.nextSalt1,
    page(pgno, into) {
      const frame = wal?.frames.get(pgno);
      const read =
        frame === undefined
          ? db.files.read('db', into, (pgno - 1) * pageSize)
          : db.files.read('wal', into, frameOffset(frame, pageSize) + WAL_FRAME_HEADER_BYTES);
      if (read < into.length) into.fill(0, read);
    },
    isUndisturbed() {
      // A read mark keeps checkpoints out, also one of no frames.
      if (wal !== undefined || lock.mxFrame !== undefined) return true;
      return db.files.size('db') === sizeBefore && db.files.size('wal') === 0;
    },
    end: lock.release,
  };
}
