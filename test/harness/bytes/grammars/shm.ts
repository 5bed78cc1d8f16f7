/**
 * -shm files, which whoever may write a database may write: those of SQLite, with headers of any numbers whose checksums are right,
 * and what is done with them under SQLite's locks.
 */

import { addToWalChecksum } from '../../../../src/sqlite/wal-checksum.ts';
import {
  encodeWalIndexHeader,
  parseWalIndexHeader,
  WAL_INDEX_COPY_BYTES,
  type WalIndexHeader,
  WalIndexWriter,
} from '../../../../src/sqlite/wal-index.ts';
import {
  beginRead,
  checkpointLimit,
  endRead,
  isMarked,
  noteAttempt,
  noteBackfill,
  resetMarks,
  type ShmAccess,
  tryRestart,
} from '../../../../src/sqlite/wal-locks.ts';
import type { SeededRandom } from '../../random.ts';
import { type Grammar, PURE } from '../grammar.ts';
import { mutate, oddNumber } from '../mutate.ts';
import { walDatabase } from '../sqlite-files.ts';

const REGION_BYTES = 32768;
const FIELDS = [0, 4, 8, 12, 14, 16, 16, 16, 20, 20, 24, 28, 32, 36] as const;
const CHECKPOINT_FIELDS = [96, 100, 104, 108, 112, 116, 128] as const;

/** Changes numbers of the header in both copies, and puts their checksums right. */
export function spoilIndex(random: SeededRandom, index: Buffer): void {
  for (let count = 1 + random.below(3); count > 0; count--) {
    index.writeUInt32LE(oddNumber(random, 32), random.pick(FIELDS));
  }
  const view = new DataView(index.buffer, index.byteOffset, WAL_INDEX_COPY_BYTES);
  const sum = { checksum1: 0, checksum2: 0 };
  addToWalChecksum(sum, view, 0, 40, false);
  view.setUint32(40, sum.checksum1, true);
  view.setUint32(44, sum.checksum2, true);
  index.copy(index, WAL_INDEX_COPY_BYTES, 0, WAL_INDEX_COPY_BYTES);
  for (let count = random.below(4); count > 0; count--) {
    index.writeUInt32LE(oddNumber(random, 32), random.pick(CHECKPOINT_FIELDS));
  }
}

/** The file, with locks that a seed refuses. */
class Shm implements ShmAccess {
  readonly bytes: Buffer;
  readonly mayRaise: boolean;
  readonly #free: number;

  constructor(bytes: Buffer, random: SeededRandom) {
    this.bytes = bytes;
    this.mayRaise = random.below(3) > 0;
    this.#free = random.below(256) | random.below(256);
  }

  lock(slot: number): boolean {
    return ((this.#free >> slot) & 1) === 1;
  }

  unlock(): void {}

  readShm(offset: number, length: number): Buffer {
    const out = Buffer.alloc(length);
    this.bytes.copy(out, 0, offset, offset + length);
    return out;
  }

  /** Past its end, as far as a file of this size may grow. */
  writeShm(offset: number, bytes: Buffer): void {
    bytes.copy(this.bytes, offset);
  }
}

export const shm: Grammar = {
  name: 'shm',
  reads: '-shm files: the header, the hash tables, marks and locks',
  codes: ['DATABASE_CORRUPT'],
  bounds: PURE,
  isStateful: false,
  begin(folder) {
    const real = [512, 4096].flatMap((pageSize) => walDatabase(folder, pageSize).shm ?? []);
    return {
      make(random) {
        const index = Buffer.alloc(2 * REGION_BYTES);
        random.pick(real).copy(index);
        if (random.below(4) > 0) spoilIndex(random, index);
        if (random.below(2) === 0) {
          const at = random.below(3) === 0 ? 16384 : 0;
          mutate(random, index.subarray(at, at + 400)).copy(index, at, 0, 400);
        }
        const access = new Shm(index, random);
        const isBehind = random.below(4) > 0;
        const frame = isBehind ? (index.readUInt32LE(16) % 8000) + 1 : 1 + random.below(5000);
        const pgnos = Array.from({ length: random.below(30) }, () =>
          Math.max(1, oddNumber(random, 32)),
        );
        const salt = oddNumber(random, 32);
        const other = oddNumber(random, 32);
        return {
          bytes: index.length,
          take() {
            const { header, consistent } = parseWalIndexHeader(access.readShm(0, 136));
            const read = beginRead(access);
            if (typeof read === 'object') {
              isMarked(access, read);
              endRead(access, read);
            }
            if (consistent) useAsWriter(access, header, salt, other);
            const memory = {
              read: (offset: number, length: number) => access.readShm(offset, length),
              write: (offset: number, bytes: Buffer) => access.writeShm(offset, bytes),
            };
            new WalIndexWriter(memory).append(frame, pgnos);
            return consistent ? 'value' : 'refused';
          },
        };
      },
      end() {},
    };
  },
};

/** As a checkpointer and a writer do with a header that they have found. */
function useAsWriter(
  shmAccess: ShmAccess,
  header: WalIndexHeader,
  salt: number,
  other: number,
): void {
  const limit = checkpointLimit(shmAccess, header);
  noteAttempt(shmAccess, limit);
  noteBackfill(shmAccess, limit);
  const restarted = tryRestart(shmAccess, header, salt);
  if (restarted) encodeWalIndexHeader(restarted);
  resetMarks(shmAccess, other);
}
