/** Attributes as replies carry them; layouts in protocol.ts. Offsets here are in 32-bit words. */
import type { FileStat } from './file-stat.ts';
import type { Node } from './nodes.ts';
import type { VirtualFile } from './policy.ts';
import { S_IFREG } from './protocol.ts';

const ATTR_WORDS = 22;
/** Where the attributes begin in fuse_entry_out and fuse_attr_out. */
export const ATTR_IN_ENTRY = 10;
export const ATTR_IN_ATTR_OUT = 4;
/** In fuse_entry_out: seconds for which the name may be believed. */
export const ENTRY_VALID_WORD = 4;

/** Inode numbers of virtual files have bit 62 set; no file system counts as far. */
const VIRTUAL_INO_HIGH = 1 << 30;

/** Puts a backing file's attributes at word `at`. */
export function putStat(out: Uint32Array, at: number, stat: FileStat): void {
  const w = stat.words;
  out[at] = w[8];
  out[at + 1] = w[9];
  out[at + 2] = w[10];
  out[at + 3] = w[11];
  out[at + 4] = w[12];
  out[at + 5] = w[13];
  out[at + 6] = w[16];
  out[at + 7] = w[17];
  out[at + 8] = w[28];
  out[at + 9] = w[29];
  out[at + 10] = w[24];
  out[at + 11] = w[25];
  out[at + 12] = w[18];
  out[at + 13] = w[30];
  out[at + 14] = w[26];
  out[at + 15] = stat.mode;
  out[at + 16] = w[4];
  out[at + 17] = w[5];
  out[at + 18] = w[6];
  out[at + 19] = stat.rdev;
  out[at + 20] = w[1];
  out[at + 21] = 0;
}

/** The inode number of a virtual file, as two words. */
export function virtualIno(node: Node): readonly [low: number, high: number] {
  return [node.id >>> 0, VIRTUAL_INO_HIGH + Math.floor(node.id / 2 ** 32)];
}

/** Puts a virtual file's attributes at word `at`. */
export function putVirtual(out: Uint32Array, at: number, node: Node, file: VirtualFile): void {
  out.fill(0, at, at + ATTR_WORDS);
  const [low, high] = virtualIno(node);
  out[at] = low;
  out[at + 1] = high;
  out[at + 2] = file.content.length;
  out[at + 4] = Math.ceil(file.content.length / 512);
  const seconds = Math.floor(file.mtimeMs / 1000);
  const nanoseconds = Math.floor((file.mtimeMs - seconds * 1000) * 1e6);
  for (let time = 0; time < 3; time++) {
    out[at + 6 + time * 2] = seconds >>> 0;
    out[at + 7 + time * 2] = Math.floor(seconds / 2 ** 32);
    out[at + 12 + time] = nanoseconds;
  }
  out[at + 15] = S_IFREG | 0o444;
  out[at + 16] = 1;
  out[at + 17] = process.getuid?.() ?? 0;
  out[at + 18] = process.getgid?.() ?? 0;
  out[at + 20] = 4096;
}

/**
 * Puts the head of a fuse_entry_out at word `at`.
 * @param entryValid how long the kernel may believe the name, in seconds
 * @param attrValid how long it may believe the attributes, in seconds
 */
export function putEntry(
  out: Uint32Array,
  at: number,
  node: Node,
  entryValid: number,
  attrValid: number,
): void {
  out.fill(0, at, at + ATTR_IN_ENTRY);
  out[at] = node.id >>> 0;
  out[at + 1] = Math.floor(node.id / 2 ** 32);
  out[at + ENTRY_VALID_WORD] = entryValid;
  out[at + 6] = attrValid;
}

/** Puts the head of a fuse_attr_out at the start. */
export function putAttrOut(out: Uint32Array, attrValid: number): void {
  out[0] = attrValid;
  out[1] = 0;
  out[2] = 0;
  out[3] = 0;
}
