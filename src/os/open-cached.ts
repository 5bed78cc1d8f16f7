/**
 * openat2(2) with RESOLVE_CACHED (Linux 5.12): opens a file only if no directory has to be searched for it, and so
 * never waits for a directory that an operation under way has locked.
 *
 * struct open_how: u64 flags, u64 mode, u64 resolve.
 */
import { errno, open } from './libc.ts';
import { BYTES, bind, PATH } from './native.ts';

const AT_FDCWD = -100;
const SYS_OPENAT2 = 437;
const OPEN_HOW_BYTES = 24;
const RESOLVE_CACHED = 0x20n;
const O_CLOEXEC = 0x80000;

const syscall = bind('syscall', ['long', 'int', PATH, BYTES, 'size_t'], 'long');
const how = Buffer.alloc(OPEN_HOW_BYTES);

/**
 * A descriptor, or a negative errno: EAGAIN when the kernel would have to search.
 * @param path ends in NUL
 * @param flags without O_CREAT
 */
export function openCached(path: Buffer, flags: number): number {
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
  how.writeBigUInt64LE(RESOLVE_CACHED, 16);
  const result = syscall(SYS_OPENAT2, AT_FDCWD, path, how, OPEN_HOW_BYTES);
  const unknown = result === -errno.ENOSYS || result === -errno.EINVAL || result === -errno.E2BIG;
  return unknown ? open(path, flags | O_CLOEXEC, 0) : result;
}
