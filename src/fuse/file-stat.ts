/**
 * The attributes of one backing file at a time, in a buffer that is used again and again.
 *
 * struct statx (256 bytes), as far as it is used:
 *    0  u32 mask        20  u32 uid      40  u64 size      96  ctime      128  u32 rdev_major
 *    4  u32 blksize     24  u32 gid      48  u64 blocks   112  mtime      132  u32 rdev_minor
 *   16  u32 nlink       28  u16 mode     64  atime                        136  u32 dev_major
 *                       32  u64 ino      80  btime                        140  u32 dev_minor
 * A time is i64 seconds, u32 nanoseconds, u32 padding.
 */
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, statx } from '../os/libc.ts';

const BASIC_AND_BTIME = 0xfff;
const NO_PATH = Buffer.alloc(1);

export class FileStat {
  readonly #buffer = Buffer.from(new ArrayBuffer(256));
  /** The structure as 64 words. */
  readonly words = new Uint32Array(this.#buffer.buffer);

  /** Loads a path's; a link's own. @returns 0 or a negative errno */
  ofPath(path: Buffer): number {
    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, BASIC_AND_BTIME, this.#buffer);
  }

  /** Loads an open file's. @returns 0 or a negative errno */
  ofFile(fd: number): number {
    return statx(fd, NO_PATH, AT_EMPTY_PATH, BASIC_AND_BTIME, this.#buffer);
  }

  get mode(): number {
    return this.words[7] & 0xffff;
  }

  get nlink(): number {
    return this.words[4];
  }

  /** rdev as FUSE and mknod(2) want it. */
  get rdev(): number {
    const major = this.words[32];
    const minor = this.words[33];
    return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
  }

  /**
   * Tells this file from every other, also from a later one with the same inode number where the
   * file system knows the time of birth.
   */
  identity(): string {
    const w = this.words;
    return `${w[34]}.${w[35]}.${w[8]}.${w[9]}.${w[20]}.${w[22]}`;
  }

  /** Changes whenever the content does (as far as the clock of the file system can tell). */
  version(): string {
    const w = this.words;
    return `${w[10]}.${w[11]}.${w[28]}.${w[30]}.${w[24]}.${w[26]}`;
  }
}
