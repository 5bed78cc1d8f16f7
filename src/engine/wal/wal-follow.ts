/**
 * What a look at a -wal means for who follows it: a decision over values, no I/O.
 *
 * Invariants:
 * - A generation is the time from one write of the -wal's header to the next. It is known by all 32 bytes: SQLite writes
 *   the salts of a generation that was rolled back once more, with another sequence number and other checksums.
 * - While a connection uses the -shm, frames 1..mxFrame of its header are committed, and nothing else is. Salts and
 *   checksums of frames prove nothing against it: SQLite before 3.51 leaves committed frames without either.
 * - What is not known for certain is `unknown`, and leads to a comparison of all pages. It is never "nothing happened".
 */
import type { WalHeader } from '../../sqlite/wal.ts';
import type { WalIndexView } from './wal-index-file.ts';

/** The header of the -wal as it is in the file: parsed, and all of its bytes, as a byte string. */
export interface WalFileHeader extends WalHeader {
  readonly bytes: string;
}

/** How far a primary has followed a -wal. */
export interface WalFollowed {
  /** The generation of which `frame` frames are captured; undefined: all that was committed is in the database file. */
  readonly generation: WalFileHeader | undefined;
  readonly frame: number;
  /** The header of that frame, as a byte string; '' for frame 0. */
  readonly frameHeader: string;
  /** Cumulative checksum behind it, as the wal-index or the chain has it. */
  readonly checksum1: number;
  readonly checksum2: number;
  /** It was followed by the chain of checksums from its beginning, not by the index. */
  readonly isChained: boolean;
  /** Without a generation: the header that the -wal had when all of it was settled; its frames are of no interest. */
  readonly settled: WalFileHeader | undefined;
  /**
   * The first salt of the index when the generation was followed from its beginning on, which each restart counts up. A writer
   * that never followed the -wal draws salts of its own for the file, and the index has them from its first commit on.
   */
  readonly indexSalt1: number | undefined;
}

/** What there is to see. */
export interface WalSight {
  /** undefined: the -wal is absent, empty, or begins with no valid header. */
  readonly header: WalFileHeader | undefined;
  /** The header of frame `followed.frame` as it is in the file now; '' for frame 0. */
  readonly frameHeader: string;
  readonly index: WalIndexView;
  /** The -wal was made since all was settled, and nothing was written to it after the database file was (file-writes.ts). */
  readonly isFirstGeneration: boolean;
  /** Nothing comes between what was captured and the next generation (wal-guard.ts). */
  readonly isEndHeld: boolean;
}

export type WalStep =
  | { readonly kind: 'nothing' }
  /** Committed and not captured: the frames from.frame+1 .. index.mxFrame of the generation. */
  | { readonly kind: 'frames'; readonly from: WalFollowed; readonly generation: WalFileHeader }
  /**
   * The generation was ended by a restart, of which the index tells; its end may not be captured. `next`: the header of the one that
   * begins, when that is written already.
   */
  | { readonly kind: 'ended'; readonly next: WalFileHeader | undefined }
  /** isUnsynced: a generation began of which no sync has told. */
  | { readonly kind: 'unknown'; readonly reason: string; readonly isUnsynced: boolean };

export const NOT_FOLLOWED: WalFollowed = {
  generation: undefined,
  frame: 0,
  frameHeader: '',
  checksum1: 0,
  checksum2: 0,
  isChained: false,
  settled: undefined,
  indexSalt1: undefined,
};

/** The beginning of a generation of which nothing is captured. `indexSalt1`: when the index does not tell of it yet. */
export function atStart(generation: WalFileHeader, indexSalt1?: number): WalFollowed {
  const { checksum1, checksum2 } = generation;
  return { ...NOT_FOLLOWED, generation, checksum1, checksum2, isChained: true, indexSalt1 };
}

/** All that was committed is in the database file and captured; `header` is what the -wal begins with. */
export function settledAt(header: WalFileHeader | undefined): WalFollowed {
  return { ...NOT_FOLLOWED, settled: header };
}

/** Whether the generation in the file, of which no sync has told, is one that nothing uncaptured comes before. */
export function begins(followed: WalFollowed, isFirstGeneration: boolean): boolean {
  return isFirstGeneration && !followed.generation && !followed.settled;
}

/** What is to be done, while a connection uses the wal-index. */
export function nextStep(before: WalFollowed, sight: WalSight): WalStep {
  const { header, index } = sight;
  if (!header) return index.mxFrame === 0 ? NOTHING : unknown('the -wal has no header');
  const last = before.generation ?? before.settled;
  const isNew = last !== undefined && last.bytes !== header.bytes;
  const isNext = begins(before, sight.isFirstGeneration) || (isNew && sight.isEndHeld);
  const followed = isNext ? atStart(header) : before;
  const { generation } = followed;
  if (!generation) return unfollowed(followed, header, index);
  if (header.bytes !== generation.bytes) {
    if (index.mxFrame > 0) return unknown('the -wal was started over before it was captured', true);
    return isNextGeneration(followed, header, index)
      ? { kind: 'ended', next: header }
      : unknown('generations of the -wal went by');
  }
  if (index.mxFrame === 0) {
    // A restart comes behind commits only, also when none of them was captured.
    if (isNextSalt(generation.salt1, index.salt1)) return { kind: 'ended', next: undefined };
    return followed.frame === 0
      ? NOTHING
      : unknown('the index has forgotten what was captured of the -wal');
  }
  if (!sameSalts(index, generation)) return unknown('the -wal is not the one of its index');
  if (index.mxFrame < followed.frame) {
    return unknown('the -wal is shorter than what was captured from it');
  }
  if (followed.frame > 0 && sight.frameHeader !== followed.frameHeader) {
    return unknown('a captured frame of the -wal was written over');
  }
  if (index.mxFrame > followed.frame) return { kind: 'frames', from: followed, generation };
  const same =
    index.frameChecksum1 === followed.checksum1 && index.frameChecksum2 === followed.checksum2;
  return same ? NOTHING : unknown('the end of the -wal was written over');
}

/** Nothing is followed, and no sync has told of the generation in the file. */
function unfollowed(followed: WalFollowed, header: WalFileHeader, index: WalIndexView): WalStep {
  // The file has what was settled already; the index, if anything, the restart that comes next.
  const isSettled = followed.settled?.bytes === header.bytes;
  // An index without salts has told of no commit yet; one with salts may be that of a restart behind commits.
  const isUnused = index.salt1 === 0 && index.salt2 === 0;
  if (index.mxFrame === 0 && (isSettled || isUnused)) return NOTHING;
  return unknown('a generation of the -wal began unseen', !isSettled);
}

/**
 * At the first fsync of a header: whether exactly one restart lies between the generation that is followed, or settled, and
 * this one. Each restart counts the first salt up by one, in the index too, where a writer that died or rolled back has left
 * it. `index`: undefined when the writer keeps it in its memory; the header tells then.
 */
export function isNextGeneration(
  followed: WalFollowed,
  header: WalFileHeader,
  index: WalIndexView | undefined,
): boolean {
  const last = followed.generation ?? followed.settled;
  if (!last) return false;
  const salt1 = index ? index.salt1 : header.salt1;
  if (followed.generation === undefined || followed.frame > 0) return isNextSalt(last.salt1, salt1);
  // When nothing was committed in it, as its writer has rolled back, the next one has the same salts, without a restart.
  const before = (index && followed.indexSalt1) ?? last.salt1;
  return salt1 === before || isNextSalt(last.salt1, salt1);
}

/** Whether a -wal was started over once between the two. */
function isNextSalt(before: number, after: number): boolean {
  return after === (before + 1) >>> 0;
}

export function sameSalts(
  a: { readonly salt1: number; readonly salt2: number },
  b: { readonly salt1: number; readonly salt2: number },
): boolean {
  return a.salt1 === b.salt1 && a.salt2 === b.salt2;
}

const NOTHING: WalStep = { kind: 'nothing' };

function unknown(reason: string, isUnsynced = false): WalStep {
  return { kind: 'unknown', reason, isUnsynced };
}
