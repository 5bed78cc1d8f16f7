/**
 * A grammar makes inputs of one kind from seeds, valid ones and such that a hostile peer or user could make of them, and gives them
 * to the program's own readers. What may come of that is a value, nothing, or a LiteFsError with one of the grammar's codes.
 */
import type { ErrorCode } from '../../../src/errors.ts';
import type { SeededRandom } from '../random.ts';

/** value: it was understood, refused: it was not, by `undefined` or by an error with a code. */
export type Verdict = 'value' | 'refused';

export interface Input {
  /** What the memory that the readers take is measured by. */
  readonly bytes: number;
  /** Gives it to the readers. Throws what they throw. */
  take(): Verdict | Promise<Verdict>;
}

/** What one input may cost. */
export interface Bounds {
  /** ms, on a machine that has time: three times in a row more than this is a fault. */
  readonly ms: number;
  /** Of what it allocates, garbage too: so much for a byte of input, and so much in any case. */
  readonly perByte: number;
  readonly anyway: number;
}

export interface Grammar {
  readonly name: string;
  /** A line on what it reads, for the help. */
  readonly reads: string;
  readonly codes: readonly ErrorCode[];
  readonly bounds: Bounds;
  /** A reader with a life of its own, a server or a start: its inputs are not given again, and run in smaller numbers. */
  readonly isStateful: boolean;
  /** `folder` is empty and theirs alone: what is written outside of it is a fault. */
  begin(folder: string): Fuzzed | Promise<Fuzzed>;
}

export interface Fuzzed {
  /** The same input for the same seed, always. */
  make(random: SeededRandom): Input;
  /** Throws what is wrong in the end: what was left open, say. */
  end(): void | Promise<void>;
}

/** For readers in memory: some tens of microseconds each. */
export const PURE: Bounds = { ms: 250, perByte: 64, anyway: 4 << 20 };
