/**
 * The checksum of every page of a database, and with them the checksum of the whole: XOR over the
 * pages, bit 63 set. Eight bytes a page: 20 MB for a database of 10 GB.
 */
import assert from 'node:assert';
import { LiteFsError } from '../errors.ts';

const CHECKSUM_FLAG = 1n << 63n;
/** Pages to one dirty block: 4 KiB of the sidecar file. */
export const PAGES_PER_BLOCK = 512;

export class PageSums {
  /** sums[pgno - 1]; entries at and past `pageCount` are zero. */
  #sums: BigUint64Array;
  #pageCount = 0;
  #xor = 0n;
  /** Blocks of PAGES_PER_BLOCK sums that changed since markSaved(). */
  #dirty = new Set<number>();

  constructor(pages = 0) {
    this.#sums = tableOf(Math.max(64, pages));
  }

  /** A table read back from its file: u64 little-endian, page 1 first. */
  static from(sums: BigUint64Array): PageSums {
    const table = new PageSums();
    table.#sums = sums;
    table.#pageCount = sums.length;
    for (let i = 0; i < sums.length; i++) table.#xor ^= sums[i];
    return table;
  }

  get pageCount(): number {
    return this.#pageCount;
  }

  /** The database checksum; 0n for no database. */
  get checksum(): bigint {
    return this.#pageCount === 0 ? 0n : this.#xor | CHECKSUM_FLAG;
  }

  /** XOR of all page checksums, without the flag: what a running computation starts from. */
  get xor(): bigint {
    return this.#xor;
  }

  /** The checksum of a page, 0n for one past the end or the lock page. */
  get(pgno: number): bigint {
    return pgno <= this.#pageCount ? this.#sums[pgno - 1] : 0n;
  }

  set(pgno: number, sum: bigint): void {
    assert(pgno >= 1 && pgno <= this.#pageCount, `page ${pgno} of ${this.#pageCount}`);
    this.#xor ^= this.#sums[pgno - 1] ^ sum;
    this.#sums[pgno - 1] = sum;
    this.#dirty.add(Math.floor((pgno - 1) / PAGES_PER_BLOCK));
  }

  /** Grows with zeros (the lock page keeps one) or cuts. */
  resize(pageCount: number): void {
    if (pageCount > this.#sums.length) {
      const grown = tableOf(Math.max(pageCount, Math.ceil(this.#sums.length * 1.5)));
      grown.set(this.#sums.subarray(0, this.#pageCount));
      this.#sums = grown;
    }
    for (let i = pageCount; i < this.#pageCount; i++) {
      this.#xor ^= this.#sums[i];
      this.#sums[i] = 0n;
    }
    this.#pageCount = pageCount;
  }

  clear(): void {
    this.resize(0);
    this.#dirty.clear();
  }

  /** The table as it is, not a copy. */
  view(): BigUint64Array {
    return this.#sums.subarray(0, this.#pageCount);
  }

  get dirtyBlocks(): number {
    return this.#dirty.size;
  }

  /** Numbers of the blocks that changed since markSaved(). */
  dirtyBlockNumbers(): Iterable<number> {
    return this.#dirty;
  }

  /** The file now holds the table as it is. */
  markSaved(): void {
    this.#dirty.clear();
  }
}

/** Throws DATABASE_CORRUPT when there is not so much memory: a size is easily said, and one database must not end the node. */
function tableOf(pages: number): BigUint64Array {
  try {
    return new BigUint64Array(pages);
  } catch (cause) {
    const text = `a database of ${pages} pages: the machine has not the memory for their checksums`;
    throw new LiteFsError('DATABASE_CORRUPT', text, { cause });
  }
}

/** A table as it travels: u64 big-endian each, page 1 first. */
export function encodeSums(sums: BigUint64Array): Buffer {
  const bytes = Buffer.allocUnsafe(sums.length * 8);
  for (let i = 0; i < sums.length; i++) bytes.writeBigUInt64BE(sums[i], i * 8);
  return bytes;
}

/** The inverse of encodeSums; a trailing partial entry is ignored. */
export function decodeSums(bytes: Uint8Array): BigUint64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sums = new BigUint64Array(Math.floor(bytes.byteLength / 8));
  for (let i = 0; i < sums.length; i++) sums[i] = view.getBigUint64(i * 8);
  return sums;
}
