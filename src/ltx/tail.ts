/** The end of an LTX file, checked without reading its pages: what a file that was cut off does not have. */
import {
  corrupt,
  FLAG_NO_CHECKSUM,
  HEADER_BYTES,
  type LtxHeader,
  TRAILER_BYTES,
} from './header.ts';

/** Behind the page block: six zero bytes, then at least the index's own zero and its size. */
const BLOCK_END_BYTES = 6;
const INDEX_SIZE_BYTES = 8;
const INDEX_BYTES_MIN = 1;
export const LTX_BYTES_MIN =
  HEADER_BYTES + BLOCK_END_BYTES + INDEX_BYTES_MIN + INDEX_SIZE_BYTES + TRAILER_BYTES;

/** Reads `into.length` bytes at an offset from the beginning of the LTX file. */
export type ReadAt = (into: Buffer, offset: number) => void;

/**
 * The post-apply checksum of a file of `length` bytes whose header was read already. The page block's
 * end and the page index must lie where the index's size says. Throws LTX_CORRUPT.
 */
export function readPostChecksum(header: LtxHeader, length: number, readAt: ReadAt): bigint {
  if (length < LTX_BYTES_MIN) throw corrupt(`has ${length} bytes: too few`);
  const tail = Buffer.alloc(INDEX_SIZE_BYTES + TRAILER_BYTES);
  readAt(tail, length - tail.length);
  const indexBytes = tail.readBigUInt64BE(0);
  const room = length - LTX_BYTES_MIN + INDEX_BYTES_MIN;
  if (indexBytes < INDEX_BYTES_MIN || indexBytes > room) throw corrupt('was cut off');
  const end = Buffer.alloc(BLOCK_END_BYTES);
  readAt(end, length - tail.length - Number(indexBytes) - end.length);
  if (end.some((byte) => byte !== 0)) throw corrupt('was cut off, or has a damaged page index');
  const postChecksum = header.postAside ?? tail.readBigUInt64BE(INDEX_SIZE_BYTES);
  const isFlagged = postChecksum >> 63n === 1n;
  const needsFlag = header.commit > 0 && (header.flags & FLAG_NO_CHECKSUM) === 0;
  if (needsFlag && !isFlagged) throw corrupt('has no post-apply checksum');
  return postChecksum;
}
