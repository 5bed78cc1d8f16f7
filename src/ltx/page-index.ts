/**
 * The page index of an LTX file: for each page three LEB128 varints (page number, absolute offset of its
 * frame, size of its frame); a zero ends them; then a u64 big-endian, the bytes of the varints with that zero.
 */
import { corrupt } from './header.ts';

export interface PageIndexEntry {
  readonly pgno: number;
  readonly offset: number;
  readonly size: number;
}

/** Three varints of up to 53 bits. */
const ENTRY_BYTES_MAX = 24;

export class PageIndexBuilder {
  #bytes = Buffer.allocUnsafe(1024);
  #length = 0;

  add(pgno: number, offset: number, size: number): void {
    if (this.#length + ENTRY_BYTES_MAX > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(this.#bytes.length * 2);
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    this.#length = putVarint(this.#bytes, this.#length, pgno);
    this.#length = putVarint(this.#bytes, this.#length, offset);
    this.#length = putVarint(this.#bytes, this.#length, size);
  }

  /** The whole index as stored. */
  finish(): Buffer {
    const bytes = Buffer.allocUnsafe(this.#length + 9);
    this.#bytes.copy(bytes, 0, 0, this.#length);
    bytes[this.#length] = 0;
    bytes.writeBigUInt64BE(BigInt(this.#length + 1), this.#length + 1);
    return bytes;
  }
}

/** Reads an index, with or without the size behind it. Throws LTX_CORRUPT. */
export function* readPageIndex(bytes: Uint8Array): Generator<PageIndexEntry> {
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length || scale > 2 ** 49) throw corrupt('has a damaged page index');
      const byte = bytes[at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  for (;;) {
    const pgno = next();
    if (pgno === 0) return;
    yield { pgno, offset: next(), size: next() };
  }
}

function putVarint(into: Buffer, at: number, value: number): number {
  while (value >= 0x80) {
    into[at++] = (value % 128) | 0x80;
    value = Math.floor(value / 128);
  }
  into[at++] = value;
  return at;
}
