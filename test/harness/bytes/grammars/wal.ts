/** -wal files: those of SQLite, and such with frames of any page, size and number, whose checksums are right. */
import assert from 'node:assert/strict';
import { databasePageCount, parseDbHeader } from '../../../../src/sqlite/db-header.ts';
import {
  encodeFrame,
  encodeWalHeader,
  frameOffset,
  parseWalHeader,
  readFrames,
  WAL_FRAME_HEADER_BYTES,
  walCursorAtStart,
} from '../../../../src/sqlite/wal.ts';
import type { SeededRandom } from '../../random.ts';
import { type Grammar, PURE } from '../grammar.ts';
import { mutate, noise, oddNumber } from '../mutate.ts';
import { walDatabase } from '../sqlite-files.ts';

/** One whose header and chain of checksums hold, whatever it says. */
export function chainedWal(random: SeededRandom, pageSize: number): Buffer {
  const header = encodeWalHeader({
    bigEndian: random.below(2) === 0,
    pageSize,
    checkpointSequence: oddNumber(random, 32),
    salt1: oddNumber(random, 32),
    salt2: oddNumber(random, 32),
  });
  const parsed = parseWalHeader(header);
  assert(parsed);
  const cursor = walCursorAtStart(parsed);
  const parts = [header];
  for (let count = random.below(12); count > 0; count--) {
    const frame = Buffer.alloc(pageSize + WAL_FRAME_HEADER_BYTES);
    const page = Buffer.alloc(pageSize, random.below(256));
    noise(random, 32).copy(page);
    const pgno = random.below(3) === 0 ? Math.max(1, oddNumber(random, 32)) : 1 + random.below(8);
    const commit = random.below(3) === 0 ? oddNumber(random, 32) : random.below(9);
    encodeFrame(cursor, pgno, commit, page, frame);
    parts.push(frame);
  }
  return Buffer.concat(parts);
}

export const wal: Grammar = {
  name: 'wal',
  reads: '-wal files: the header, frames from any place on; and the header of a database',
  codes: [],
  bounds: PURE,
  isStateful: false,
  begin(folder) {
    const real = [512, 4096].map((pageSize) => walDatabase(folder, pageSize));
    const wals = real.flatMap(({ wal: bytes }) => bytes ?? []);
    const heads = real.map(({ db }) => db.subarray(0, 512));
    return {
      make(random) {
        const isReal = random.below(2) === 0;
        const whole = isReal
          ? random.pick(wals)
          : chainedWal(random, random.pick([512, 1024, 4096]));
        const bytes = random.below(4) === 0 ? whole : mutate(random, whole, wals);
        const head = mutate(random, random.pick(heads), heads);
        const steps = random.below(2) === 0 ? 1 : 1 + random.below(4);
        return {
          bytes: bytes.length + head.length,
          take() {
            const parsed = parseDbHeader(head);
            if (parsed) assert(databasePageCount(parsed, bytes.length) >= 0);
            const header = parseWalHeader(bytes);
            if (!header) return 'refused';
            const cursor = walCursorAtStart(header);
            const start = frameOffset(1, header.pageSize);
            const frameBytes = header.pageSize + WAL_FRAME_HEADER_BYTES;
            const most = Math.max(1, Math.ceil((bytes.length - start) / frameBytes / steps));
            let count = 0;
            for (let found = -1; found !== 0; ) {
              const at = frameOffset(cursor.frame + 1, header.pageSize);
              const part = bytes.subarray(at, at + most * frameBytes);
              found = readFrames(cursor, part, (frame, pgno, _, offset) => {
                assert(pgno > 0 && frame === count + 1 && offset + frameBytes <= part.length);
                count++;
              });
            }
            assert.equal(cursor.frame, count);
            return 'value';
          },
        };
      },
      end() {},
    };
  },
};
