/**
 * Inputs of one grammar, one after the other in this process: what each gave, how long it took, what it allocated. The seed of an
 * input is on the disk before it is taken: of a process that hangs or dies it says which it was.
 */
import fs from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import v8 from 'node:v8';
import { LiteFsError } from '../../../src/errors.ts';
import { SeededRandom } from '../random.ts';
import type { Fuzzed, Grammar, Input } from './grammar.ts';
import { Guard } from './guard.ts';

export interface Fault {
  readonly grammar: string;
  readonly seed: number;
  /** What went wrong, in a word. */
  readonly kind: 'error' | 'slow' | 'memory' | 'outside' | 'crash' | 'hang';
  readonly text: string;
}

export interface Counts {
  inputs: number;
  /** Those that were understood. */
  values: number;
  refused: number;
  /** Of input. */
  bytes: number;
  /** The longest that one took, and the most that one allocated. */
  msMax: number;
  allocatedMax: number;
}

export interface RoundsOptions {
  readonly grammar: Grammar;
  readonly seed: number;
  readonly inputs: number;
  /** Begins no input after that time, ms. */
  readonly msMax: number;
  /** Where the seed is written that comes next. */
  readonly seedFile?: string;
  fault(fault: Fault): void;
  /** Told now and then, and at the end. */
  progress?(counts: Counts): void;
}

const SEED_BYTES = 8;
/** Inputs between two looks at what is kept in memory and at the folder. */
const PER_LOOK = 2000;
const PER_LOOK_STATEFUL = 50;
/** What may stay in memory: caches fill at the beginning. */
const KEPT_BYTES_MAX = 48 << 20;
const STACK_LINES = 4;

/** The bits of memory that are asked for each input: all that V8 has ever given, and what lies outside of its heap. */
function memory(): { given: number; outside: number; kept: number } {
  const stats = v8.getHeapStatistics() as v8.HeapInfo & { total_allocated_bytes: number };
  const { total_allocated_bytes: given, external_memory: outside, used_heap_size: used } = stats;
  return { given, outside, kept: used + outside };
}

export async function runRounds(options: RoundsOptions): Promise<Counts> {
  const { grammar, inputs } = options;
  const guard = new Guard();
  const counts: Counts = { inputs: 0, values: 0, refused: 0, bytes: 0, msMax: 0, allocatedMax: 0 };
  const seedFd = options.seedFile === undefined ? undefined : fs.openSync(options.seedFile, 'w');
  const untilMs = performance.now() + options.msMax;
  const perLook = grammar.isStateful ? PER_LOOK_STATEFUL : PER_LOOK;
  let seed = options.seed;
  const fault = (kind: Fault['kind'], text: string) =>
    options.fault({ grammar: grammar.name, seed, kind, text });
  let keptAtFirst: number | undefined;
  const look = async () => {
    await setImmediate();
    const outside = guard.fault();
    if (outside !== undefined) fault('outside', outside);
    globalThis.gc?.();
    const { kept } = memory();
    keptAtFirst ??= kept;
    if (globalThis.gc && kept > keptAtFirst + KEPT_BYTES_MAX) {
      fault('memory', `${kept - keptAtFirst} bytes are kept, up to this input`);
      keptAtFirst = kept;
    }
    options.progress?.(counts);
  };
  try {
    const fuzzed = await grammar.begin(guard.inside);
    try {
      for (; counts.inputs < inputs && performance.now() < untilMs; seed++) {
        if (seedFd !== undefined) noteSeed(seedFd, seed);
        const taken = takeOne(grammar, fuzzed, seed, counts, fault);
        if (taken) await taken;
        if (counts.inputs % perLook === 0) await look();
      }
      seed--;
      await look();
    } finally {
      await fuzzed.end();
    }
    const outside = guard.fault();
    if (outside !== undefined) fault('outside', outside);
    return counts;
  } finally {
    guard.remove();
    if (seedFd !== undefined) fs.closeSync(seedFd);
  }
}

/** The seed that such a file has; undefined when none was begun. */
export function notedSeed(file: string): number | undefined {
  try {
    const bytes = fs.readFileSync(file);
    return bytes.length === SEED_BYTES ? bytes.readDoubleLE() : undefined;
  } catch {
    return undefined;
  }
}

const note = Buffer.alloc(SEED_BYTES);

function noteSeed(fd: number, seed: number): void {
  note.writeDoubleLE(seed);
  fs.writeSync(fd, note, 0, SEED_BYTES, 0);
}

type Tell = (kind: Fault['kind'], text: string) => void;

/** The grammar could not make an input: a bug of the check, not of what is checked. */
export class MakerBug extends Error {}

function madeOf(fuzzed: Fuzzed, seed: number): Input {
  try {
    return fuzzed.make(new SeededRandom(seed));
  } catch (error) {
    throw new MakerBug(`no input was made of seed ${seed}: ${describe(error)}`, { cause: error });
  }
}

/** Synchronous where the reader is. */
function takeOne(
  grammar: Grammar,
  fuzzed: Fuzzed,
  seed: number,
  counts: Counts,
  fault: Tell,
): Promise<void> | undefined {
  const input = madeOf(fuzzed, seed);
  const before = memory();
  const startedMs = performance.now();
  const ended = (verdict: string | undefined, error?: unknown) => {
    const ms = performance.now() - startedMs;
    const after = memory();
    counts.inputs++;
    counts.bytes += input.bytes;
    if (verdict === 'value') counts.values++;
    else counts.refused++;
    if (error !== undefined) judge(grammar, error, fault);
    // Outside of the heap, a collection makes it less.
    const allocated = after.given - before.given + Math.max(0, after.outside - before.outside);
    counts.msMax = Math.max(counts.msMax, ms);
    counts.allocatedMax = Math.max(counts.allocatedMax, allocated);
    const { perByte, anyway } = grammar.bounds;
    if (allocated > anyway + perByte * input.bytes) {
      fault('memory', `${allocated} bytes were allocated for ${input.bytes} of input`);
    }
    if (ms > grammar.bounds.ms) {
      const leastMs = grammar.isStateful ? ms : leastOf(fuzzed, seed, ms);
      if (leastMs > grammar.bounds.ms) {
        fault('slow', `${Math.round(leastMs)} ms for ${input.bytes} bytes of input`);
      }
    }
  };
  try {
    const verdict = input.take();
    if (typeof verdict === 'string') ended(verdict);
    else return verdict.then(ended, (error) => ended(undefined, error));
  } catch (error) {
    ended(undefined, error);
  }
  return undefined;
}

/** Other programs use the machine: slow is what is slow again, by the time of the processor. */
function leastOf(fuzzed: Fuzzed, seed: number, firstMs: number): number {
  let leastMs = firstMs;
  for (let i = 0; i < 2; i++) {
    const input: Input = fuzzed.make(new SeededRandom(seed));
    const started = process.cpuUsage();
    try {
      input.take();
    } catch {
      // It was judged the first time.
    }
    const { user, system } = process.cpuUsage(started);
    leastMs = Math.min(leastMs, (user + system) / 1000);
  }
  return leastMs;
}

function judge(grammar: Grammar, error: unknown, fault: Tell): void {
  if (error instanceof LiteFsError && grammar.codes.includes(error.code)) return;
  fault('error', describe(error));
}

/** With the lines of the stack that say where it was. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = error instanceof LiteFsError ? ` ${error.code}` : '';
  const stack = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  const places = stack
    .slice(0, STACK_LINES)
    .map((line) => line.trim().replace(/\(?file:\/\/.*\/(?=src\/|test\/)/, '('));
  return `${error.name}${code}: ${error.message.slice(0, 300)} ${places.join(' ')}`;
}
