/**
 * The compiled inner loops (wasm/kernel.as) and the memory they work in.
 *
 *     0        input: 64 KiB and some slack
 *     69632    output: the largest LZ4 block of 64 KiB and slack
 *     139264   hash table of the compressor: 32 KiB
 *
 * One instance a thread: nothing in it outlives a call.
 */
import { KERNEL_BASE64 } from './kernel-bytes.ts';

/** The most that one call takes: the largest page of SQLite. */
export const KERNEL_INPUT_BYTES_MAX = 65536;
export const INPUT = 0;
export const OUTPUT = 69632;
export const TABLE = 139264;
/** Room of the output area. */
export const OUTPUT_BYTES_MAX = TABLE - OUTPUT - 64;
const MEMORY_PAGES = 4;

interface KernelExports {
  crc64(state: bigint, at: number, length: number): bigint;
  lz4Compress(from: number, length: number, to: number, table: number): number;
  lz4Decompress(from: number, length: number, to: number, room: number): number;
}

const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES });
const module = new WebAssembly.Module(Buffer.from(KERNEL_BASE64, 'base64'));

export const kernel = new WebAssembly.Instance(module, { env: { memory } })
  .exports as unknown as KernelExports;
export const kernelBytes = new Uint8Array(memory.buffer);
