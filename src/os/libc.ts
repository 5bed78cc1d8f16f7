/**
 * System calls that node:fs lacks, or that are needed without its cost: no exception per failure,
 * no conversion of paths. All return what the kernel would: a result, or a negative errno.
 *
 * Paths and names are bytes that end in NUL (see `cString`); buffers are written in place.
 * x86-64 and arm64 Linux only: both are little-endian LP64, and the structures used here are equal.
 */
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { BYTES, bind, PATH } from './native.ts';

/** File descriptor that stands for the working directory in the *at calls. */
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
/** linkat: the new name is of what a link leads to, as one in /proc/self/fd. */
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;
/** statx: ask the server behind the file system, if there is one. */
export const AT_STATX_FORCE_SYNC = 0x2000;
/** statx: answer from what the kernel knows; never ask a server behind the file system. */
export const AT_STATX_DONT_SYNC = 0x4000;

const IS_ARM = process.arch === 'arm64';
/** Not exported by C libraries before glibc 2.33 (mknodat) and 2.30 (getdents64). */
const SYS_MKNODAT = IS_ARM ? 33 : 259;
const SYS_GETDENTS64 = IS_ARM ? 61 : 217;

const syscall4 = bind('syscall', ['long', 'long', BYTES, 'long', 'long'], 'long');

/** A byte string (one char per byte) as the C library wants it. */
export function cString(bytes: string): Buffer {
  return Buffer.from(`${bytes}\0`, 'latin1');
}

/** An Error as node:fs would throw it: `code` 'EAGAIN', `errno` negative, `syscall`. */
export interface SystemError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
}

/** @param errno positive */
export function systemError(syscall: string, errno: number, path?: string): SystemError {
  const code = getSystemErrorName(-errno);
  const where = path === undefined ? '' : ` '${path}'`;
  return Object.assign(new Error(`${code}: ${syscall}${where}`), { code, errno: -errno, syscall });
}

/** The result of a call, or its failure thrown as a SystemError. */
export function checked(syscall: string, result: number, path?: string): number {
  if (result < 0) throw systemError(syscall, -result, path);
  return result;
}

export const errno = constants.errno;

// --- Open files -----------------------------------------------------------------------------

export const open: (path: Buffer, flags: number, mode: number) => number = bind('open', [
  PATH,
  'int',
  'uint32_t',
]);
/** openat(2): `path` in the directory `fd`. */
export const openat: (fd: number, path: Buffer, flags: number, mode: number) => number = bind(
  'openat',
  ['int', PATH, 'int', 'uint32_t'],
);
export const close: (fd: number) => number = bind('close', ['int']);
/** Blocks the thread unless the file is non-blocking. */
export const read: (fd: number, into: Uint8Array, length: number) => number = bind(
  'read',
  ['int', BYTES, 'size_t'],
  'int64_t',
);
export const write: (fd: number, from: Uint8Array, length: number) => number = bind(
  'write',
  ['int', BYTES, 'size_t'],
  'int64_t',
);
export const pread: (fd: number, into: Uint8Array, length: number, offset: number) => number = bind(
  'pread64',
  ['int', BYTES, 'size_t', 'int64_t'],
  'int64_t',
);
export const pwrite: (fd: number, from: Uint8Array, length: number, offset: number) => number =
  bind('pwrite64', ['int', BYTES, 'size_t', 'int64_t'], 'int64_t');
export const fsync: (fd: number) => number = bind('fsync', ['int']);
export const fdatasync: (fd: number) => number = bind('fdatasync', ['int']);
/** Has all of a file system written to its disk; `fd`: any file or directory of it. */
export const syncfs: (fd: number) => number = bind('syncfs', ['int']);
/** sync_file_range: begin to write, and wait for nothing. */
export const SYNC_FILE_RANGE_WRITE = 2;
export const syncFileRange: (fd: number, offset: number, length: number, flags: number) => number =
  bind('sync_file_range', ['int', 'int64_t', 'int64_t', 'uint32_t']);
export const ftruncate: (fd: number, size: number) => number = bind('ftruncate64', [
  'int',
  'int64_t',
]);
export const fallocate: (fd: number, mode: number, offset: number, length: number) => number = bind(
  'fallocate64',
  ['int', 'int', 'int64_t', 'int64_t'],
);
/** @param whence SEEK_SET 0, SEEK_CUR 1, SEEK_END 2, SEEK_DATA 3, SEEK_HOLE 4 */
export const lseek: (fd: number, offset: number, whence: number) => number = bind(
  'lseek64',
  ['int', 'int64_t', 'int'],
  'int64_t',
);
export const fchmod: (fd: number, mode: number) => number = bind('fchmod', ['int', 'uint32_t']);
export const fchown: (fd: number, uid: number, gid: number) => number = bind('fchown', [
  'int',
  'uint32_t',
  'uint32_t',
]);
/** fcntl(2) with a number. */
export const fcntl: (fd: number, command: number, value: number) => number = bind('fcntl', [
  'int',
  'int',
  'long',
]);
/** fcntl(2) with a structure, which it may change. */
export const fcntlStruct: (fd: number, command: number, value: Uint8Array) => number = bind(
  'fcntl',
  ['int', 'int', BYTES],
);
/** ioctl(2) with a structure. */
export const ioctl: (fd: number, request: number, value: Uint8Array) => number = bind('ioctl', [
  'int',
  'ulong',
  BYTES,
]);
/** Fills `into` with struct linux_dirent64 records; 0 at the end. */
export function getdents(fd: number, into: Uint8Array): number {
  return syscall4(SYS_GETDENTS64, fd, into, into.length, 0);
}

// --- Names ----------------------------------------------------------------------------------

/** chmod(2): follows symbolic links. */
export const chmod: (path: Buffer, mode: number) => number = bind('chmod', [PATH, 'uint32_t']);
export const lchown: (path: Buffer, uid: number, gid: number) => number = bind('lchown', [
  PATH,
  'uint32_t',
  'uint32_t',
]);
export const truncate: (path: Buffer, size: number) => number = bind('truncate64', [
  PATH,
  'int64_t',
]);
export const mkdir: (path: Buffer, mode: number) => number = bind('mkdir', [PATH, 'uint32_t']);
export const rmdir: (path: Buffer) => number = bind('rmdir', [PATH]);
export const unlink: (path: Buffer) => number = bind('unlink', [PATH]);
export const symlink: (target: Buffer, path: Buffer) => number = bind('symlink', [PATH, PATH]);
export const link: (path: Buffer, newPath: Buffer) => number = bind('link', [PATH, PATH]);
export const readlink: (path: Buffer, into: Uint8Array, length: number) => number = bind(
  'readlink',
  [PATH, BYTES, 'size_t'],
  'int64_t',
);
/** @param dev as the kernel encodes it: minor bits 0-7 and 20-31, major bits 8-19 */
export function mknod(path: Buffer, mode: number, dev: number): number {
  return syscall4(SYS_MKNODAT, AT_FDCWD, path, mode, dev);
}
/** mkdirat(2), unlinkat(2) of what is no directory, linkat(2): names in the directories `fd`. */
export const mkdirat: (fd: number, name: Buffer, mode: number) => number = bind('mkdirat', [
  'int',
  PATH,
  'uint32_t',
]);
export const unlinkat: (fd: number, name: Buffer, flags: number) => number = bind('unlinkat', [
  'int',
  PATH,
  'int',
]);
export const linkat: (
  fd: number,
  name: Buffer,
  newFd: number,
  newName: Buffer,
  flags: number,
) => number = bind('linkat', ['int', PATH, 'int', PATH, 'int']);
/** renameat2(2), with the flags of rename(). */
export const renameat2: (
  fd: number,
  name: Buffer,
  newFd: number,
  newName: Buffer,
  flags: number,
) => number = bind('renameat2', ['int', PATH, 'int', PATH, 'uint32_t']);
/** @param flags RENAME_NOREPLACE 1, RENAME_EXCHANGE 2 */
export function rename(path: Buffer, newPath: Buffer, flags: number): number {
  return renameat2(AT_FDCWD, path, AT_FDCWD, newPath, flags);
}
/** `times` is two struct timespec, whose nanoseconds may be UTIME_NOW or UTIME_OMIT. */
export const utimensat: (fd: number, path: Buffer, times: Uint8Array, flags: number) => number =
  bind('utimensat', ['int', PATH, BYTES, 'int']);
/** The same for an open file. */
export const futimens: (fd: number, times: Uint8Array) => number = bind('futimens', ['int', BYTES]);
/** Fills the 256 bytes of a struct statx. */
export const statx: (
  fd: number,
  path: Buffer,
  flags: number,
  mask: number,
  into: Uint8Array,
) => number = bind('statx', ['int', PATH, 'int', 'uint32_t', BYTES]);
/** Fills the 120 bytes of a struct statfs. */
export const statfs: (path: Buffer, into: Uint8Array) => number = bind('statfs64', [PATH, BYTES]);

// --- Threads --------------------------------------------------------------------------------

/** The thread's id, as FUSE reports it of a caller. */
export const gettid: () => number = bind('gettid', []);
