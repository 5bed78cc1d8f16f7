/** The request that is being handled: a view of one buffer that every read from the device fills. */
import type { Caller } from './policy.ts';
import { IN_HEADER, MAX_TRANSFER } from './protocol.ts';

/** Offset of the data in a WRITE: it follows the header and fuse_write_in. */
const WRITE_DATA = IN_HEADER + 40;

/** Whom a reply goes to, and who asked. */
export interface Asker extends Caller {
  readonly uniqueLow: number;
  readonly uniqueHigh: number;
}

export class Request {
  /** A whole request; the device insists on room for the largest. */
  readonly buffer = Buffer.from(new ArrayBuffer(MAX_TRANSFER + 4096));
  /** The data of a WRITE begins here. */
  readonly writeData = this.buffer.subarray(WRITE_DATA);
  readonly #words = new Uint32Array(this.buffer.buffer);
  /** Length of the request in bytes. */
  length = 0;
  /** Who asks; outlives the request. */
  asker: Asker = { uniqueLow: 0, uniqueHigh: 0, uid: 0, gid: 0, pid: 0 };

  /** To be called when a request of `length` bytes has been put in the buffer. */
  arrived(length: number): void {
    this.length = length;
    const words = this.#words;
    this.asker = {
      uniqueLow: words[2],
      uniqueHigh: words[3],
      uid: words[6],
      gid: words[7],
      pid: words[8],
    };
  }

  get opcode(): number {
    return this.#words[1];
  }

  get nodeId(): number {
    return this.#words[4] + this.#words[5] * 2 ** 32;
  }

  /** @param offset in bytes after the header, a multiple of 4 */
  u32(offset: number): number {
    return this.#words[(IN_HEADER + offset) >>> 2];
  }

  /** Above 2^53 inexact, yet still above 2^53. */
  u64(offset: number): number {
    return this.u32(offset) + this.u32(offset + 4) * 2 ** 32;
  }

  /** The bytes, one a char, from `offset` after the header to the next NUL. */
  string(offset: number): string {
    const start = IN_HEADER + offset;
    const end = this.buffer.indexOf(0, start);
    return this.buffer.toString('latin1', start, end < 0 || end > this.length ? this.length : end);
  }

  /** A view, valid until the next request. */
  bytes(offset: number, length: number): Buffer {
    return this.buffer.subarray(IN_HEADER + offset, IN_HEADER + offset + length);
  }
}
