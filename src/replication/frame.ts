/**
 * Frames: what the TCP stream is made of, in both directions.
 *
 *     0   4   u32 big-endian: length of what follows (type and payload), 1 … 2 MiB
 *     4   1   type
 *     5   …   payload, see messages.ts
 */
import { LiteFsError } from '../errors.ts';

/** Types 32 to 35 are reserved: synchronous replication, handing over the role. */
export const FRAME_TYPES = {
  HELLO: 1,
  AUTH: 2,
  WELCOME: 3,
  REJECT: 4,
  SUBSCRIBE: 5,
  SUBSCRIBED: 6,
  ENTRY: 7,
  ENTRY_BEGIN: 8,
  ENTRY_CHUNK: 9,
  ENTRY_END: 10,
  CHECKSUMS_ASK: 11,
  CHECKSUMS: 12,
  RESYNC_BEGIN: 13,
  PAGES: 14,
  RESYNC_END: 15,
  DROPPED: 16,
  HEARTBEAT: 17,
  ACK: 18,
  PING: 19,
  REQUEST: 20,
  TROUBLES: 21,
  VERIFY: 22,
  VERIFIED: 23,
  ANSWERED: 24,
  OWNERSHIP: 25,
  RESERVED_DURABLE: 32,
  RESERVED_READY: 33,
  RESERVED_HANDOFF: 34,
  RESERVED_PROMOTE: 35,
  HALT: 36,
  HALTED: 37,
  UNHALT: 38,
  COMMITTED: 39,
} as const;

export type FrameName = keyof typeof FRAME_TYPES;

export class Frame {
  readonly type: number;
  #parts: readonly Buffer[];

  constructor(type: number, parts: readonly Buffer[]) {
    this.type = type;
    this.#parts = parts;
  }

  /** In the pieces in which it came: of a large one, which need not be put together. */
  get parts(): readonly Buffer[] {
    return this.#parts;
  }

  get payload(): Buffer {
    if (this.#parts.length !== 1) this.#parts = [Buffer.concat(this.#parts)];
    return this.#parts[0];
  }
}

/** Type and payload, at most; before the handshake is done, from strangers, much less. */
export const FRAME_BYTES_MAX = 2 << 20;
export const HANDSHAKE_FRAME_BYTES_MAX = 4 << 10;
const LENGTH_BYTES = 4;
/** Pieces of a frame below this are put together. */
const SMALL_BYTES = 4 << 10;
const FIRST_RESERVED = 32;
const LAST_RESERVED = 35;

const NAMES = new Map<number, FrameName>(
  (Object.keys(FRAME_TYPES) as FrameName[]).map((name) => [FRAME_TYPES[name], name]),
);

/** The name of a type, for messages. */
export function frameName(type: number): string {
  return NAMES.get(type) ?? `type ${type}`;
}

/** The bytes before the payload. */
export function frameHeader(type: number, payloadBytes: number): Buffer {
  const header = Buffer.allocUnsafe(LENGTH_BYTES + 1);
  header.writeUInt32BE(payloadBytes + 1, 0);
  header[LENGTH_BYTES] = type;
  return header;
}

/** Cuts a stream into frames. */
export class FrameParser {
  #chunks: Buffer[] = [];
  #bytes = 0;
  #bytesMax = HANDSHAKE_FRAME_BYTES_MAX;

  /** The handshake is done: frames may be as large as they get. */
  trust(): void {
    this.#bytesMax = FRAME_BYTES_MAX;
  }

  /** Takes the next bytes. */
  add(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#joinSmall();
  }

  /**
   * A peer may send a frame byte by byte, and each piece costs some hundred bytes of its own. So small ones are put together,
   * the last with one before it that is not larger: each byte is copied a few times, and few pieces are left.
   */
  #joinSmall(): void {
    for (;;) {
      const [last, before] = [this.#chunks.at(-1), this.#chunks.at(-2)];
      if (!last || !before || last.length >= SMALL_BYTES || before.length > last.length) return;
      this.#chunks.splice(-2, 2, Buffer.concat([before, last]));
    }
  }

  /**
   * The next frame that is whole; undefined when there is none. Throws PROTOCOL for one that is too
   * long, of an unknown type, or of a reserved one.
   */
  next(): Frame | undefined {
    if (this.#bytes < LENGTH_BYTES + 1) return undefined;
    const header = this.#peek(LENGTH_BYTES + 1);
    const length = header.readUInt32BE(0);
    check(length, header[LENGTH_BYTES], this.#bytesMax);
    if (this.#bytes < LENGTH_BYTES + length) return undefined;
    const type = header[LENGTH_BYTES];
    this.#take(LENGTH_BYTES + 1);
    return new Frame(type, this.#take(length - 1));
  }

  /** In how many what is not whole yet is kept. */
  get pieces(): number {
    return this.#chunks.length;
  }

  /** What has not been cut into frames yet; it is forgotten here. */
  takeRest(): Buffer {
    const rest = Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#bytes = 0;
    return rest;
  }

  #peek(length: number): Buffer {
    if (this.#chunks[0].length < length) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0];
  }

  #take(length: number): Buffer[] {
    const taken: Buffer[] = [];
    let left = length;
    while (left > 0) {
      const [first] = this.#chunks;
      if (first.length > left) {
        taken.push(first.subarray(0, left));
        this.#chunks[0] = first.subarray(left);
        break;
      }
      taken.push(first);
      this.#chunks.shift();
      left -= first.length;
    }
    this.#bytes -= length;
    return taken;
  }
}

/** The beginning of an answer in HTTP, read as the length of a frame. */
const HTTP = Buffer.from('HTTP').readUInt32BE();

function check(length: number, type: number, bytesMax: number): void {
  if (length === HTTP) {
    throw new LiteFsError(
      'PROTOCOL',
      'it answers in HTTP: that is the port of http.addr, not of replication.addr (20204 unless changed)',
    );
  }
  if (length < 1 || length > bytesMax) {
    throw new LiteFsError('PROTOCOL', `a frame of ${length} bytes: not a litefs-lite node?`);
  }
  if (!NAMES.has(type)) throw new LiteFsError('PROTOCOL', `a frame of unknown type ${type}`);
  if (type >= FIRST_RESERVED && type <= LAST_RESERVED) {
    throw new LiteFsError(
      'PROTOCOL',
      `a ${frameName(type)} frame, which this version does not use`,
    );
  }
}
