/** LZ4 blocks (the block format, without a frame around it) of at most 64 KiB. */
import assert from 'node:assert';
import {
  INPUT,
  KERNEL_INPUT_BYTES_MAX,
  kernel,
  kernelBytes,
  OUTPUT,
  OUTPUT_BYTES_MAX,
  TABLE,
} from './kernel.ts';

/** The largest block that `length` bytes can become, literals only. */
export function lz4BlockBytesMax(length: number): number {
  return length + Math.ceil(length / 255) + 16;
}

/** Compresses up to 64 KiB. The result is a view that the next call of this module overwrites. */
export function lz4Compress(data: Uint8Array): Uint8Array {
  assert(data.length <= KERNEL_INPUT_BYTES_MAX);
  kernelBytes.set(data, INPUT);
  const size = kernel.lz4Compress(INPUT, data.length, OUTPUT, TABLE);
  return kernelBytes.subarray(OUTPUT, OUTPUT + size);
}

/**
 * The same content as one run of literals: valid LZ4 that costs nothing to make. Writes it into `into` and
 * returns its size.
 */
export function lz4Literals(data: Uint8Array, into: Uint8Array): number {
  let at = 0;
  if (data.length < 15) {
    into[at++] = data.length << 4;
  } else {
    into[at++] = 0xf0;
    let rest = data.length - 15;
    for (; rest >= 255; rest -= 255) into[at++] = 255;
    into[at++] = rest;
  }
  into.set(data, at);
  return at + data.length;
}

/**
 * Decompresses a block into all of `into`. false when the block is damaged or of another size.
 * Blocks and content of at most 64 KiB (and the overhead of literals).
 */
export function lz4Decompress(block: Uint8Array, into: Uint8Array): boolean {
  if (block.length > OUTPUT - 64 || into.length > OUTPUT_BYTES_MAX) return false;
  kernelBytes.set(block, INPUT);
  const size = kernel.lz4Decompress(INPUT, block.length, OUTPUT, into.length);
  if (size !== into.length) return false;
  into.set(kernelBytes.subarray(OUTPUT, OUTPUT + size));
  return true;
}
