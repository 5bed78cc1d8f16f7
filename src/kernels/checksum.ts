/**
 * CRC-64/ISO as Go's hash/crc64 computes it: polynomial 0xD800000000000000 reflected, initial value
 * and final XOR all ones. The checksums of LTX set bit 63 on top (see ltx-format: "Checksums").
 */
import { INPUT, KERNEL_INPUT_BYTES_MAX, kernel, kernelBytes } from './kernel.ts';

const ALL_ONES = 0xffff_ffff_ffff_ffffn;
/** Bit 63 of every checksum in an LTX file. */
export const CHECKSUM_FLAG = 1n << 63n;

/** A running CRC. */
export class Crc64 {
  #state = ALL_ONES;

  update(bytes: Uint8Array): this {
    for (let at = 0; at < bytes.length; at += KERNEL_INPUT_BYTES_MAX) {
      const part =
        at === 0 && bytes.length <= KERNEL_INPUT_BYTES_MAX
          ? bytes
          : bytes.subarray(at, at + KERNEL_INPUT_BYTES_MAX);
      kernelBytes.set(part, INPUT);
      this.#state = BigInt.asUintN(64, kernel.crc64(this.#state, INPUT, part.length));
    }
    return this;
  }

  /** The CRC so far, 0 … 2^64-1; more may follow. */
  digest(): bigint {
    return this.#state ^ ALL_ONES;
  }
}

/**
 * The checksum of a page: CRC-64 over its number (u32 big-endian) and content, bit 63 set.
 * `page`: 512 to 65536 bytes.
 */
export function pageChecksum(pgno: number, page: Uint8Array): bigint {
  kernelBytes[INPUT] = pgno >>> 24;
  kernelBytes[INPUT + 1] = pgno >>> 16;
  kernelBytes[INPUT + 2] = pgno >>> 8;
  kernelBytes[INPUT + 3] = pgno;
  kernelBytes.set(page, INPUT + 4);
  const state = kernel.crc64(ALL_ONES, INPUT, page.length + 4);
  return BigInt.asUintN(64, state ^ ALL_ONES) | CHECKSUM_FLAG;
}
