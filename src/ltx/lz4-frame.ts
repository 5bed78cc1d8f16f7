/**
 * A page as Litestream up to 0.5.15 wrote it: page flags of 0, and behind them an LZ4 frame in the place of size and block.
 * All integers little-endian.
 *
 *     0    4   magic 0x184d2204
 *     4    1   bits 7-6: version, 01; 5: blocks stand alone; 4: checksums of blocks; 3: content size; 2: content checksum;
 *              0: dictionary
 *     5    1   bits 6-4: largest block
 *     6    8   content size, if there is one
 *     …    1   checksum of what is between it and the magic
 *     …    4   size of the block; bit 31: it is not compressed
 *     …        the block, then 4 bytes of its checksum, if there is one
 *     …    4   zero: no more blocks (a page fits into one)
 *     …    4   content checksum, if there is one
 *
 * Checksums are not compared: that of the LTX file covers the page.
 */
import { lz4BlockBytesMax, lz4Decompress } from '../kernels/lz4.ts';
import { corrupt } from './header.ts';

const MAGIC = 0x184d2204;
const FIXED_BYTES = 6;
const RAW = 0x80000000;
const FLAG = { version: 0xc0, blockChecksum: 0x10, size: 0x08, checksum: 0x04, dictionary: 0x01 };
const VERSION = 0x40;

/** Reads a frame into all of `page`, and returns its size. `take` throws when so much is not there. Throws LTX_CORRUPT. */
export function readLz4Frame(take: (length: number) => Buffer, page: Buffer): number {
  const fixed = take(FIXED_BYTES);
  const flags = fixed[4];
  const isKnown = (flags & FLAG.version) === VERSION && (flags & FLAG.dictionary) === 0;
  if (fixed.readUInt32LE(0) !== MAGIC || !isKnown) throw corrupt('has a page that is no LZ4 frame');
  const restBytes = (flags & FLAG.size ? 8 : 0) + 1;
  take(restBytes);
  const size = take(4).readUInt32LE(0);
  const blockBytes = size % RAW;
  if (blockBytes === 0 || blockBytes > lz4BlockBytesMax(page.length)) {
    throw corrupt(`has a block of ${blockBytes} bytes in an LZ4 frame`);
  }
  if (!unpack(take(blockBytes), size >= RAW, page)) throw corrupt('has a damaged LZ4 frame');
  const blockSumBytes = flags & FLAG.blockChecksum ? 4 : 0;
  take(blockSumBytes);
  if (take(4).readUInt32LE(0) !== 0) throw corrupt('has an LZ4 frame of more than one block');
  const sumBytes = flags & FLAG.checksum ? 4 : 0;
  take(sumBytes);
  return FIXED_BYTES + restBytes + 4 + blockBytes + blockSumBytes + 4 + sumBytes;
}

function unpack(block: Buffer, isRaw: boolean, page: Buffer): boolean {
  if (!isRaw) return lz4Decompress(block, page);
  return block.copy(page) === page.length && block.length === page.length;
}
