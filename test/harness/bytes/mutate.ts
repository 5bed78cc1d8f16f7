/** What a hostile hand does to bytes: a few of these changes, at places that a seed says. */
import type { SeededRandom } from '../random.ts';

/** Where readers have their edges. */
const EDGES = [
  0n,
  1n,
  2n,
  3n,
  4n,
  7n,
  8n,
  15n,
  16n,
  17n,
  24n,
  31n,
  32n,
  33n,
  63n,
  64n,
  65n,
  99n,
  100n,
  101n,
  127n,
  128n,
  129n,
  254n,
  255n,
  256n,
  257n,
  511n,
  512n,
  513n,
  1000n,
  1023n,
  1024n,
  4062n,
  4063n,
  4095n,
  4096n,
  4097n,
  8191n,
  8192n,
  10_000n,
  10_001n,
  32_767n,
  32_768n,
  65_534n,
  65_535n,
  65_536n,
  65_537n,
  1_000_000n,
  2n ** 21n,
  2n ** 24n,
  2n ** 30n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 31n + 1n,
  2n ** 32n - 2n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 2n,
  2n ** 64n - 1n,
];

/** What is read as text, a name or a path. */
const WORDS = [
  '\0',
  '\x1b[2J\x1b]0;x\x07',
  '../',
  '../../../../etc/passwd',
  '/',
  '//',
  '.',
  '..',
  '',
  'a\0b',
  '\r\n',
  '%00',
  '%2e%2e%2f',
  'app.db-wal',
  '.primary',
  'constructor',
  '__proto__',
  '\ud800',
  'é',
  '💥',
  '-journal',
  '*',
  ' ',
  'x'.repeat(300),
  '\xff\xfe',
  '\x7f',
  '\u202e',
];

export function edge(random: SeededRandom): bigint {
  return random.pick(EDGES);
}

/** An edge, near one, or any number below 2^`bits`. */
export function oddNumber(random: SeededRandom, bits: number): number {
  const most = 2 ** bits;
  const value =
    random.below(4) === 0 ? random.below(2 ** 32) : Number(edge(random)) + random.below(3) - 1;
  return Math.min(most - 1, Math.max(0, bits > 53 ? value : value % most));
}

export function oddText(random: SeededRandom): string {
  const parts = Array.from({ length: 1 + random.below(3) }, () => random.pick(WORDS));
  return random.below(2) === 0 ? parts.join('') : `a${parts.join('/')}b`;
}

/** Bytes without a meaning. */
export function noise(random: SeededRandom, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = random.below(256);
  return bytes;
}

type Change = (bytes: Buffer, random: SeededRandom, others: readonly Buffer[]) => Buffer;

/** Beginnings and ends have the most meaning. */
function place(random: SeededRandom, length: number): number {
  if (length === 0) return 0;
  const near = Math.min(length, 128);
  switch (random.below(4)) {
    case 0:
      return random.below(near);
    case 1:
      return length - 1 - random.below(near);
    default:
      return random.below(length);
  }
}

function putNumber(bytes: Buffer, random: SeededRandom, size: 1 | 2 | 4 | 8): Buffer {
  if (bytes.length < size) return bytes;
  let at = Math.min(place(random, bytes.length), bytes.length - size);
  if (random.below(2) === 0) at -= at % size;
  const value = BigInt.asUintN(size * 8, edge(random));
  const word = Buffer.alloc(8);
  if (random.below(3) > 0) word.writeBigUInt64BE(value << BigInt(64 - size * 8));
  else word.writeBigUInt64LE(value);
  word.copy(bytes, at, 0, size);
  return bytes;
}

const CHANGES: readonly Change[] = [
  (bytes, random) => {
    if (bytes.length > 0) bytes[place(random, bytes.length)] ^= 1 << random.below(8);
    return bytes;
  },
  (bytes, random) => {
    if (bytes.length > 0) bytes[place(random, bytes.length)] = random.below(256);
    return bytes;
  },
  (bytes, random) => putNumber(bytes, random, 1),
  (bytes, random) => putNumber(bytes, random, 2),
  (bytes, random) => putNumber(bytes, random, 4),
  (bytes, random) => putNumber(bytes, random, 4),
  (bytes, random) => putNumber(bytes, random, 8),
  (bytes, random) => bytes.subarray(0, place(random, bytes.length)),
  (bytes, random) => bytes.subarray(place(random, bytes.length)),
  (bytes, random) => Buffer.concat([bytes, noise(random, random.below(64))]),
  (bytes, random) => Buffer.concat([bytes, Buffer.alloc(random.below(600))]),
  (bytes, random) => {
    const [from, at] = [place(random, bytes.length), place(random, bytes.length)];
    const part = bytes.subarray(from, from + 1 + random.below(600));
    return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)]);
  },
  (bytes, random) => {
    const at = place(random, bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(600))]);
  },
  (bytes, random, others) => {
    const other = random.pick(others) ?? bytes;
    return Buffer.concat([
      bytes.subarray(0, place(random, bytes.length)),
      other.subarray(place(random, other.length)),
    ]);
  },
  (bytes, random, others) => {
    const other = random.pick(others) ?? bytes;
    const from = place(random, other.length);
    other.copy(bytes, place(random, bytes.length), from, from + random.below(200));
    return bytes;
  },
  (bytes, random) => {
    const at = place(random, bytes.length);
    const word = Buffer.from(oddText(random));
    if (random.below(2) === 0) word.copy(bytes, at);
    else return Buffer.concat([bytes.subarray(0, at), word, bytes.subarray(at)]);
    return bytes;
  },
  (bytes, random) => {
    const at = place(random, bytes.length);
    return bytes.fill(random.pick([0, 0xff]), at, Math.min(bytes.length, at + random.below(64)));
  },
];

const CHANGES_MAX = 6;

/** A copy with one to six changes. `others`: of the same kind, to be spliced in. */
export function mutate(
  random: SeededRandom,
  bytes: Uint8Array,
  others: readonly Buffer[] = [],
): Buffer {
  let changed: Buffer = Buffer.from(bytes);
  const spliced = others.length > 0 ? others : [changed];
  for (let count = 1 + random.below(CHANGES_MAX); count > 0; count--) {
    changed = random.pick(CHANGES)(changed, random, spliced);
  }
  return changed;
}

/** The same of text. Every char is a byte. */
export function mutateText(
  random: SeededRandom,
  text: string,
  others: readonly string[] = [],
): string {
  const bytes = mutate(
    random,
    Buffer.from(text, 'latin1'),
    others.map((other) => Buffer.from(other, 'latin1')),
  );
  return bytes.toString('latin1');
}

/** Pieces, as a stream delivers bytes. */
export function pieces(random: SeededRandom, bytes: Buffer): Buffer[] {
  if (random.below(3) === 0) return [bytes];
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = random.below(4) === 0 ? 1 + random.below(4) : 1 + random.below(2000);
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return parts;
}
