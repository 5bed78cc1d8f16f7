/**
 * Writes an LTX v3 file from pages in ascending order.
 *
 * A page frame: u32 page number, u16 flags (bit 0: a size follows), u32 size of the block, the block: LZ4
 * that decompresses to exactly one page. The file checksum covers the page as it is decompressed.
 */
import assert from 'node:assert';
import { CHECKSUM_FLAG, Crc64 } from '../kernels/checksum.ts';
import { lz4BlockBytesMax, lz4Compress, lz4Literals } from '../kernels/lz4.ts';
import {
  encodeHeader,
  FLAG_NO_CHECKSUM,
  HEADER_BYTES,
  type LtxHeader,
  TRAILER_BYTES,
} from './header.ts';
import { PageIndexBuilder } from './page-index.ts';
import type { ByteSink } from './sources.ts';

export const PAGE_HEADER_BYTES = 10;
export const PAGE_FLAG_SIZE = 1;
/** What ends the page block: an empty page header. */
export const END_OF_PAGES = Buffer.alloc(6);

export class LtxEncoder {
  readonly #sink: ByteSink;
  readonly #header: LtxHeader;
  readonly #compress: boolean;
  readonly #crc = new Crc64();
  readonly #index = new PageIndexBuilder();
  readonly #frame: Buffer;
  #offset = HEADER_BYTES;
  #lastPgno = 0;

  /** Writes the header at once. `compress`: false stores pages as literals. */
  constructor(sink: ByteSink, header: LtxHeader, options: { compress: boolean }) {
    this.#sink = sink;
    this.#header = header;
    this.#compress = options.compress;
    this.#frame = Buffer.allocUnsafe(PAGE_HEADER_BYTES + lz4BlockBytesMax(header.pageSize));
    const bytes = encodeHeader(header);
    this.#crc.update(bytes);
    sink.write(bytes);
  }

  /** Adds a page. Page numbers ascend and do not exceed `commit`. */
  page(pgno: number, data: Uint8Array): void {
    const { pageSize, commit } = this.#header;
    assert(pgno > this.#lastPgno && pgno <= commit, `page ${pgno} after ${this.#lastPgno}`);
    assert.equal(data.length, pageSize, 'size of a page');
    this.#lastPgno = pgno;
    const frame = this.#frame;
    let blockBytes: number;
    if (this.#compress) {
      const block = lz4Compress(data);
      frame.set(block, PAGE_HEADER_BYTES);
      blockBytes = block.length;
    } else {
      blockBytes = lz4Literals(data, frame.subarray(PAGE_HEADER_BYTES));
    }
    frame.writeUInt32BE(pgno, 0);
    frame.writeUInt16BE(PAGE_FLAG_SIZE, 4);
    frame.writeUInt32BE(blockBytes, 6);
    const frameBytes = PAGE_HEADER_BYTES + blockBytes;
    this.#crc.update(frame.subarray(0, PAGE_HEADER_BYTES)).update(data);
    this.#sink.write(frame.subarray(0, frameBytes));
    this.#index.add(pgno, this.#offset, frameBytes);
    this.#offset += frameBytes;
  }

  /** Ends the file. `postChecksum`: of the database after it; the one in the header when that has it. */
  finish(postChecksum: bigint): void {
    const { flags, postAside } = this.#header;
    assert(
      postAside === undefined || postAside === postChecksum,
      'the checksum that was announced',
    );
    const hasNone = postAside !== undefined || (flags & FLAG_NO_CHECKSUM) !== 0;
    const index = this.#index.finish();
    const trailer = Buffer.allocUnsafe(TRAILER_BYTES);
    trailer.writeBigUInt64BE(hasNone ? 0n : postChecksum, 0);
    this.#crc.update(END_OF_PAGES).update(index).update(trailer.subarray(0, 8));
    trailer.writeBigUInt64BE(this.#crc.digest() | CHECKSUM_FLAG, 8);
    this.#sink.write(Buffer.concat([END_OF_PAGES, index, trailer]));
  }
}
