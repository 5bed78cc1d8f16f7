/**
 * How readers, writers and checkpointers of a WAL share its index: SQLite's own protocol, step by step.
 *
 * A reader picks the read mark nearest below the last frame, holds its slot shared and looks again: if
 * header and mark are still the same, nothing it needs will be overwritten. A checkpointer copies frames
 * up to the lowest mark in use; a writer starts the log over when all of it is copied and no mark is used.
 */
import { LiteFsError } from '../errors.ts';
import { WAL_READ_SLOT, WAL_READERS, WAL_RECOVER_SLOT } from './locks.ts';
import {
  BACKFILL_ATTEMPTED_OFFSET,
  BACKFILL_OFFSET,
  encodeWalIndexHeader,
  parseWalIndexHeader,
  READ_MARK_NOT_USED,
  readMarkOffset,
  WAL_INDEX_COPY_BYTES,
  WAL_INDEX_HEADER_BYTES,
  WAL_INDEX_VERSION,
  type WalIndexHeader,
} from './wal-index.ts';

/** The -shm file: locks on the slots of locks.ts, never waiting, and its bytes. */
export interface ShmAccess {
  /** False when somebody else's lock is in the way. */
  lock(slot: number, count: number, type: 'shared' | 'exclusive'): boolean;
  unlock(slot: number, count: number): void;
  readShm(offset: number, length: number): Buffer;
  writeShm(offset: number, bytes: Buffer): void;
  /**
   * false: a write may wait for whoever removes the file, and that for us. Then a reader takes marks as it finds them, and may
   * find none.
   */
  readonly mayRaise: boolean;
}

/** A snapshot being read: the frames 1..header.mxFrame over the database file. */
export interface WalRead {
  /** The read mark held, 0..4; with 0 the database file has everything and the log is not to be read. UNMARKED: none. */
  readonly slot: number;
  /** The value of that mark. */
  readonly mark: number;
  readonly header: WalIndexHeader;
}

/** The slot of a snapshot that nothing protects: only what has happened since tells whether it was one. */
export const UNMARKED = -1;

/**
 * Takes a snapshot. 'retry': something moved, or the index must be recovered first; 'busy': somebody
 * recovers it right now. To be ended with endRead. `fromFile`: whether the snapshot may be that of the database file, when all
 * is in it (slot 0).
 */
export function beginRead(
  shm: ShmAccess,
  { fromFile }: { readonly fromFile: boolean } = { fromFile: true },
): WalRead | 'retry' | 'busy' {
  const seen = shm.readShm(0, WAL_INDEX_HEADER_BYTES);
  const { header, consistent, checkpoint } = parseWalIndexHeader(seen);
  if (!consistent) return isRecovering(shm) ? 'busy' : 'retry';
  if (header.version !== WAL_INDEX_VERSION) {
    throw new LiteFsError('DATABASE_CORRUPT', `wal-index of unknown version ${header.version}`);
  }
  if (
    fromFile &&
    checkpoint.backfill === header.mxFrame &&
    shm.lock(WAL_READ_SLOT(0), 1, 'shared')
  ) {
    if (headerIsStill(shm, seen)) return { slot: 0, mark: 0, header };
    shm.unlock(WAL_READ_SLOT(0), 1);
    return 'retry';
  }

  const best = bestMark(checkpoint.readMarks, header.mxFrame);
  if (best.slot === 0 && !shm.mayRaise) return { slot: UNMARKED, mark: 0, header };
  const { slot, mark } =
    best.mark < header.mxFrame && shm.mayRaise ? (raiseMark(shm, header.mxFrame) ?? best) : best;
  if (slot === 0 || !shm.lock(WAL_READ_SLOT(slot), 1, 'shared')) return 'retry';
  if (readU32(shm, readMarkOffset(slot)) !== mark || !headerIsStill(shm, seen)) {
    shm.unlock(WAL_READ_SLOT(slot), 1);
    return 'retry';
  }
  return { slot, mark, header };
}

/** Whether the mark of a snapshot is still there: a connection that recovers the index resets those that it can. */
export function isMarked(shm: ShmAccess, { slot, mark }: WalRead): boolean {
  return slot <= 0 || readU32(shm, readMarkOffset(slot)) === mark;
}

/** Lets go of a snapshot. */
export function endRead(shm: ShmAccess, read: WalRead): void {
  if (read.slot !== UNMARKED) shm.unlock(WAL_READ_SLOT(read.slot), 1);
}

/**
 * The last frame that may be copied into the database file: nobody reads an older snapshot. `header` is
 * the present one; the caller holds the checkpoint slot. Marks that nobody holds are moved out of the way.
 * The caller then takes READ 0 exclusively for as long as it writes to the database.
 */
export function checkpointLimit(shm: ShmAccess, header: WalIndexHeader): number {
  let limit = header.mxFrame;
  for (let i = 1; i < WAL_READERS; i++) {
    const mark = readU32(shm, readMarkOffset(i));
    if (mark >= limit) continue;
    if (shm.lock(WAL_READ_SLOT(i), 1, 'exclusive')) {
      writeU32(shm, readMarkOffset(i), i === 1 ? limit : READ_MARK_NOT_USED);
      shm.unlock(WAL_READ_SLOT(i), 1);
    } else {
      limit = mark;
    }
  }
  return limit;
}

/**
 * Starts the log over, when all of it is in the database and nobody reads it: publishes a header with
 * mxFrame 0 and new salts, resets the marks, and returns that header. The next frame is number 1, behind
 * a new WAL header with these salts and the next checkpoint sequence. undefined when it must go on.
 *
 * `header` is the present one, `randomSalt` any 32 bits; the caller holds the write slot.
 */
export function tryRestart(
  shm: ShmAccess,
  header: WalIndexHeader,
  randomSalt: number,
): WalIndexHeader | undefined {
  const backfill = readU32(shm, BACKFILL_OFFSET);
  if (backfill === 0 || backfill !== header.mxFrame) return undefined;
  const marks = WAL_READERS - 1;
  if (!shm.lock(WAL_READ_SLOT(1), marks, 'exclusive')) return undefined;
  try {
    const restarted: WalIndexHeader = {
      ...header,
      mxFrame: 0,
      salt1: (header.salt1 + 1) >>> 0,
      salt2: randomSalt >>> 0,
    };
    publishHeader(shm, restarted);
    writeU32(shm, BACKFILL_OFFSET, 0);
    writeU32(shm, BACKFILL_ATTEMPTED_OFFSET, 0);
    writeU32(shm, readMarkOffset(1), 0);
    for (let i = 2; i < WAL_READERS; i++) writeU32(shm, readMarkOffset(i), READ_MARK_NOT_USED);
    return restarted;
  } finally {
    shm.unlock(WAL_READ_SLOT(1), marks);
  }
}

/**
 * Before frames up to `limit` are copied into the database file: a snapshot that was taken before them, and that no read
 * mark protects (sqlite3_snapshot_get), can no longer be opened. The caller holds the checkpoint slot and READ 0.
 */
export function noteAttempt(shm: ShmAccess, limit: number): void {
  writeU32(shm, BACKFILL_ATTEMPTED_OFFSET, limit);
}

/** They have been copied, and are on disk. */
export function noteBackfill(shm: ShmAccess, limit: number): void {
  writeU32(shm, BACKFILL_OFFSET, limit);
}

/**
 * What SQLite's recovery does with the marks after the hash tables are remade: those that somebody holds stay, since the
 * snapshots that they stand for are being read. The caller holds the write and the checkpoint slot.
 */
export function resetMarks(shm: ShmAccess, mxFrame: number): void {
  writeU32(shm, BACKFILL_OFFSET, 0);
  writeU32(shm, BACKFILL_ATTEMPTED_OFFSET, mxFrame);
  writeU32(shm, readMarkOffset(0), 0);
  for (let i = 1; i < WAL_READERS; i++) {
    if (!shm.lock(WAL_READ_SLOT(i), 1, 'exclusive')) continue;
    writeU32(shm, readMarkOffset(i), i === 1 && mxFrame > 0 ? mxFrame : READ_MARK_NOT_USED);
    shm.unlock(WAL_READ_SLOT(i), 1);
  }
}

/** Makes a commit visible. Copy 2 goes first: a reader, who starts with copy 1, sees the difference. */
export function publishHeader(shm: ShmAccess, header: WalIndexHeader): void {
  const copy = encodeWalIndexHeader(header);
  shm.writeShm(WAL_INDEX_COPY_BYTES, copy);
  shm.writeShm(0, copy);
}

function isRecovering(shm: ShmAccess): boolean {
  if (!shm.lock(WAL_RECOVER_SLOT, 1, 'shared')) return true;
  shm.unlock(WAL_RECOVER_SLOT, 1);
  return false;
}

/** The largest mark that is not past `mxFrame`; slot 0 when there is none. */
function bestMark(marks: readonly number[], mxFrame: number): { slot: number; mark: number } {
  const best = { slot: 0, mark: -1 };
  for (let i = 1; i < WAL_READERS; i++) {
    if (marks[i] < best.mark || marks[i] > mxFrame) continue;
    best.slot = i;
    best.mark = marks[i];
  }
  return best;
}

/** Sets the first mark that nobody holds to `mxFrame`; undefined when all are held. */
function raiseMark(shm: ShmAccess, mxFrame: number): { slot: number; mark: number } | undefined {
  for (let slot = 1; slot < WAL_READERS; slot++) {
    if (!shm.lock(WAL_READ_SLOT(slot), 1, 'exclusive')) continue;
    writeU32(shm, readMarkOffset(slot), mxFrame);
    shm.unlock(WAL_READ_SLOT(slot), 1);
    return { slot, mark: mxFrame };
  }
  return undefined;
}

function headerIsStill(shm: ShmAccess, seen: Buffer): boolean {
  return shm.readShm(0, WAL_INDEX_COPY_BYTES).equals(seen.subarray(0, WAL_INDEX_COPY_BYTES));
}

function readU32(shm: ShmAccess, offset: number): number {
  return shm.readShm(offset, 4).readUInt32LE(0);
}

function writeU32(shm: ShmAccess, offset: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  shm.writeShm(offset, bytes);
}
