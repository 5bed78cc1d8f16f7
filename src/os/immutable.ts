/**
 * The attribute "immutable" of a file or a directory, as chattr +i sets it. In such a directory nobody, root included, makes
 * or removes a name: EPERM. What is in it already can be written as before.
 *
 * FS_IOC_GETFLAGS _IOR('f', 1, long), FS_IOC_SETFLAGS _IOW('f', 2, long): their numbers say long, the kernel reads and writes 32
 * bits.
 */
import { errno, ioctl } from './libc.ts';

const FS_IOC_GETFLAGS = 0x8008_6601;
const FS_IOC_SETFLAGS = 0x4008_6602;
const FS_IMMUTABLE_FL = 0x10;

const flags = Buffer.alloc(8);

/** @param fd open for reading; undefined when the file system cannot tell */
export function isImmutable(fd: number): boolean | undefined {
  if (ioctl(fd, FS_IOC_GETFLAGS, flags) < 0) return undefined;
  return (flags.readUInt32LE(0) & FS_IMMUTABLE_FL) !== 0;
}

/**
 * Sets or lifts it.
 * @param fd open for reading
 * @returns 1 when that changed something, 0 when it was so, or a negative errno: see `cannotBeImmutable`, and EPERM without
 *   CAP_LINUX_IMMUTABLE
 */
export function setImmutable(fd: number, wanted: boolean): number {
  const got = ioctl(fd, FS_IOC_GETFLAGS, flags);
  if (got < 0) return got;
  const present = flags.readUInt32LE(0);
  const next = wanted ? present | FS_IMMUTABLE_FL : present & ~FS_IMMUTABLE_FL;
  if (next >>> 0 === present) return 0;
  flags.writeUInt32LE(next >>> 0, 0);
  const set = ioctl(fd, FS_IOC_SETFLAGS, flags);
  return set < 0 ? set : 1;
}

/** Whether such an error says that the file system knows no such attribute, or not this one. */
export function cannotBeImmutable(error: number): boolean {
  return [errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL].includes(-error);
}
