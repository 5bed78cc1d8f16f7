/**
 * Opening what lies below a directory, and nothing else, whatever others put there: openat2(2) with RESOLVE_BENEATH,
 * RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS (Linux 5.6). No component of a name is followed if it is a link, and the
 * name does not lead out of the directory. With RESOLVE_CACHED (Linux 5.12) no directory is searched either: nothing is waited for that an operation
 * under way has locked.
 *
 * struct open_how: u64 flags, u64 mode, u64 resolve.
 */
import fs from 'node:fs';
import { close, cString, errno, openat } from './libc.ts';
import { BYTES, bind, PATH } from './native.ts';

const SYS_OPENAT2 = 437;
const OPEN_HOW_BYTES = 24;
const RESOLVE_NO_MAGICLINKS = 0x02n;
const RESOLVE_NO_SYMLINKS = 0x04n;
const RESOLVE_BENEATH = 0x08n;
const RESOLVE_CACHED = 0x20n;
const RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
const O_CLOEXEC = 0o2000000;
/** A descriptor that stands for a file without having it open: of a FIFO, a socket or a link as well. */
export const O_PATH = 0o10000000;
/** A directory to resolve names in. */
export const DIRECTORY = O_PATH | O_DIRECTORY;
const ALWAYS = O_NOFOLLOW | O_CLOEXEC;

const syscall = bind('syscall', ['long', 'int', PATH, BYTES, 'size_t'], 'long');
const how = Buffer.alloc(OPEN_HOW_BYTES);

/**
 * A descriptor, or a negative errno: ELOOP or ENOTDIR when a component is a link, EXDEV when it leads out.
 * @param name one char a byte; '' is the directory itself
 * @param mode of a file that is made; else 0
 */
export function openBeneath(dir: number, name: string, flags: number, mode = 0): number {
  const result = openat2(dir, name, flags, mode, RESOLVE);
  return result === -errno.ENOSYS ? walkBeneath(dir, name, flags, mode) : result;
}

/**
 * The same of what the kernel has in its cache of names; EAGAIN for all else. Where the kernel cannot tell, it is
 * openBeneath().
 * @param flags without O_CREAT
 */
export function openCachedBeneath(dir: number, name: string, flags: number): number {
  const result = openat2(dir, name, flags, 0, RESOLVE | RESOLVE_CACHED);
  const unknown = result === -errno.ENOSYS || result === -errno.EINVAL;
  return unknown ? openBeneath(dir, name, flags) : result;
}

function openat2(dir: number, name: string, flags: number, mode: number, resolve: bigint): number {
  how.writeBigUInt64LE(BigInt(safe(flags)), 0);
  how.writeBigUInt64LE(BigInt(mode), 8);
  how.writeBigUInt64LE(resolve, 16);
  return syscall(SYS_OPENAT2, dir, cString(name === '' ? '.' : name), how, OPEN_HOW_BYTES);
}

/** The same one component at a time, for kernels and emulators without openat2. No component may be '..'. */
export function walkBeneath(dir: number, name: string, flags: number, mode = 0): number {
  const parts = name === '' ? ['.'] : name.split('/');
  if (parts.includes('..') || name.startsWith('/')) return -errno.EXDEV;
  let at = dir;
  for (const [i, part] of parts.entries()) {
    const isLast = i === parts.length - 1;
    const next = openat(at, cString(part), safe(isLast ? flags : DIRECTORY), mode);
    if (at !== dir) close(at);
    if (next < 0) return next;
    at = next;
  }
  return at;
}

/** A FIFO must not make us wait for its other end, nor a lease for its holder. */
function safe(flags: number): number {
  return flags | ALWAYS | ((flags & O_PATH) === 0 ? O_NONBLOCK : 0);
}
