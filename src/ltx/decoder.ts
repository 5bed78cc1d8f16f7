/** Reads an LTX v3 file page by page and checks all of it: order, sizes, page index, file checksum. */
import { CHECKSUM_FLAG, Crc64 } from '../kernels/checksum.ts';
import { lz4BlockBytesMax, lz4Decompress } from '../kernels/lz4.ts';
import { lockPageNumber } from '../sqlite/db-header.ts';
import { PAGE_FLAG_SIZE, PAGE_HEADER_BYTES } from './encoder.ts';
import {
  corrupt,
  decodeHeader,
  FLAG_NO_CHECKSUM,
  HEADER_BYTES,
  type LtxHeader,
  TRAILER_BYTES,
} from './header.ts';
import { readLz4Frame } from './lz4-frame.ts';
import { PageIndexBuilder } from './page-index.ts';
import type { ByteSource } from './sources.ts';

export interface LtxPage {
  readonly pgno: number;
  /** Valid until the next call of next(). */
  readonly data: Buffer;
}

export interface LtxTrailer {
  readonly postChecksum: bigint;
  readonly fileChecksum: bigint;
}

/** The page index is hashed and compared in pieces of this size. */
const INDEX_CHUNK_BYTES = 64 << 10;

export class LtxDecoder {
  readonly header: LtxHeader;
  readonly #source: ByteSource;
  readonly #crc = new Crc64();
  readonly #index = new PageIndexBuilder();
  readonly #page: Buffer;
  readonly #lockPage: number;
  #offset = HEADER_BYTES;
  #lastPgno = 0;
  #ended = false;

  /** Reads the header. Throws LTX_CORRUPT, as all methods do. */
  constructor(source: ByteSource) {
    this.#source = source;
    const head = source.take(HEADER_BYTES);
    this.header = decodeHeader(head);
    this.#crc.update(head);
    this.#page = Buffer.allocUnsafe(this.header.pageSize);
    this.#lockPage = lockPageNumber(this.header.pageSize);
  }

  /** The next page; undefined behind the last. */
  next(): LtxPage | undefined {
    if (this.#ended) return undefined;
    const first = this.#take(6);
    const pgno = first.readUInt32BE(0);
    const flags = first.readUInt16BE(4);
    this.#crc.update(first);
    if (pgno === 0 && flags === 0) {
      this.#ended = true;
      return undefined;
    }
    this.#checkPage(pgno, flags);
    const frameBytes =
      flags === PAGE_FLAG_SIZE
        ? PAGE_HEADER_BYTES + this.#readBlock(pgno)
        : first.length + readLz4Frame((length) => this.#take(length), this.#page);
    this.#crc.update(this.#page);
    this.#index.add(pgno, this.#offset, frameBytes);
    this.#offset += frameBytes;
    this.#lastPgno = pgno;
    return { pgno, data: this.#page };
  }

  /** Reads what is left of the pages, the index and the trailer, and checks the file checksum. */
  finish(): LtxTrailer {
    while (this.next());
    this.#checkIndex();
    const trailer = Buffer.from(this.#take(TRAILER_BYTES));
    if (this.#source.remaining !== 0) throw corrupt('has bytes behind its trailer');
    this.#crc.update(trailer.subarray(0, 8));
    const result: LtxTrailer = {
      postChecksum: this.header.postAside ?? trailer.readBigUInt64BE(0),
      fileChecksum: trailer.readBigUInt64BE(8),
    };
    if (result.fileChecksum !== (this.#crc.digest() | CHECKSUM_FLAG)) {
      throw corrupt('does not have the content that its checksum says');
    }
    const flagged = (result.postChecksum & CHECKSUM_FLAG) !== 0n;
    const wanted = this.header.commit > 0 && (this.header.flags & FLAG_NO_CHECKSUM) === 0;
    if (wanted && !flagged) throw corrupt('has no post-apply checksum');
    return result;
  }

  /** The size of the block that makes the page. */
  #readBlock(pgno: number): number {
    const size = this.#take(4);
    const blockBytes = size.readUInt32BE(0);
    this.#crc.update(size);
    if (blockBytes === 0 || blockBytes > lz4BlockBytesMax(this.#page.length)) {
      throw corrupt(`has a block of ${blockBytes} bytes for page ${pgno}`);
    }
    if (!lz4Decompress(this.#take(blockBytes), this.#page)) {
      throw corrupt(`has a damaged page ${pgno}`);
    }
    return blockBytes;
  }

  #checkPage(pgno: number, flags: number): void {
    const { commit } = this.header;
    if (flags !== PAGE_FLAG_SIZE && flags !== 0) throw corrupt(`has unknown flags at page ${pgno}`);
    if (pgno <= this.#lastPgno) throw corrupt(`has page ${pgno} after page ${this.#lastPgno}`);
    if (pgno > commit) throw corrupt(`has page ${pgno}, past its size of ${commit} pages`);
    if (pgno === this.#lockPage) throw corrupt('has the lock page');
  }

  /** The index must be exactly what the pages that were read make. */
  #checkIndex(): void {
    const expected = this.#index.finish();
    if (this.#source.remaining !== expected.length + TRAILER_BYTES) {
      throw corrupt('has a page index of the wrong size');
    }
    for (let at = 0; at < expected.length; at += INDEX_CHUNK_BYTES) {
      const part = expected.subarray(at, at + INDEX_CHUNK_BYTES);
      if (!part.equals(this.#take(part.length))) throw corrupt('has a page index that is wrong');
      this.#crc.update(part);
    }
  }

  #take(length: number): Buffer {
    const bytes = this.#source.take(length);
    if (bytes.length < length) throw corrupt('ends too early');
    return Buffer.from(bytes.buffer, bytes.byteOffset, length);
  }
}
