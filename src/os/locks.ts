/**
 * Byte-range locks of an open file description (they are not the process's: closing another
 * descriptor of the same file does not drop them), and leases.
 *
 * struct flock, x86-64 and arm64, 32 bytes:
 *   0  i16 l_type    F_RDLCK 0, F_WRLCK 1, F_UNLCK 2
 *   2  i16 l_whence  SEEK_SET 0
 *   8  i64 l_start
 *  16  i64 l_len     0: to the end of the file
 *  24  i32 l_pid     must be 0
 */
import { checked, errno, fcntl, fcntlStruct } from './libc.ts';

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_SETLEASE = 1024;
const TYPES = { read: 0, write: 1, unlock: 2 } as const;

const flock = Buffer.alloc(32);

function fill(type: keyof typeof TYPES, start: number, length: number): void {
  flock.fill(0);
  flock.writeInt16LE(TYPES[type], 0);
  flock.writeBigInt64LE(BigInt(start), 8);
  flock.writeBigInt64LE(BigInt(length), 16);
}

/**
 * Takes or drops a lock on bytes [start, start + length) without waiting.
 * @param fd open for reading for a read lock, for writing for a write lock
 * @param length 0 means: to the end of the file, however long it grows
 * @returns false when another holds a conflicting lock
 * @throws SystemError on any other failure
 */
export function ofdLock(
  fd: number,
  type: 'read' | 'write' | 'unlock',
  start: number,
  length: number,
): boolean {
  fill(type, start, length);
  const result = fcntlStruct(fd, F_OFD_SETLK, flock);
  if (result === -errno.EAGAIN || result === -errno.EACCES) return false;
  checked('fcntl(F_OFD_SETLK)', result);
  return true;
}

/**
 * Whether such a lock could be had now (locks through `fd` itself do not count).
 * @throws SystemError
 */
export function ofdTest(
  fd: number,
  type: 'read' | 'write',
  start: number,
  length: number,
): boolean {
  fill(type, start, length);
  checked('fcntl(F_OFD_GETLK)', fcntlStruct(fd, F_OFD_GETLK, flock));
  return flock.readInt16LE(0) === TYPES.unlock;
}

/**
 * Whether anybody has the file open for writing, at this moment. 'unknown' of another user's file without CAP_LEASE, which
 * containers do not have by themselves, and where the file system has no leases.
 * @param fd opened O_RDONLY
 * @throws SystemError
 */
export function isOpenElsewhere(fd: number): boolean | 'unknown' {
  const result = fcntl(fd, F_SETLEASE, TYPES.read);
  if (result === -errno.EAGAIN) return true;
  if (NO_LEASE.includes(-result)) return 'unknown';
  checked('fcntl(F_SETLEASE)', result);
  checked('fcntl(F_SETLEASE)', fcntl(fd, F_SETLEASE, TYPES.unlock));
  return false;
}

const NO_LEASE: readonly number[] = [
  errno.EACCES,
  errno.EPERM,
  errno.EINVAL,
  errno.ENOTTY,
  errno.ENOSYS,
  errno.EOPNOTSUPP,
];
