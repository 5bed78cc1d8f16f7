/**
 * What an adoption makes in the mount is marked until it is complete, by an extended attribute that only root can set: the
 * next run removes what was left by one that was cut off, and nothing else. A link beside the database tells where to look,
 * but its folder's owner can put any link there.
 */
import type fs from 'node:fs';
import { cString } from '../../os/libc.ts';
import { getxattr, removexattr, setxattr } from '../../os/xattr.ts';
import type { Names } from './names.ts';

const NAME = cString('trusted.litefs-lite.adopting');
const BYTES_MAX = 8192;

/** Of one adoption: of that original, by that path. */
export function markOf({ path }: Names, original: fs.Stats): string {
  return `${original.ino}:${path}`;
}

/** Where this cannot be, on a file system without attributes, the next run leaves what it finds, and says so. */
export function setMark(fd: number, mark: string): void {
  const value = Buffer.from(mark);
  setxattr(fd, NAME, value, value.length, 0);
}

export function clearMark(fd: number): void {
  removexattr(fd, NAME);
}

export function isMarked(fd: number, mark: string): boolean {
  const value = Buffer.alloc(BYTES_MAX);
  const length = getxattr(fd, NAME, value, value.length);
  return length > 0 && value.toString('utf8', 0, length) === mark;
}
