/**
 * FUSE mounts: made, found and taken away by system calls, without fusermount.
 *
 * A line of /proc/self/mountinfo (octal escapes for space, tab, newline and backslash in fields):
 *   36 35 98:0 /root /mount/point rw,noatime shared:1 - ext3 /dev/root rw,errors=continue
 *   id parent major:minor root point options optional... - type source super-options
 */
import { readFileSync } from 'node:fs';
import { AT_FDCWD, AT_STATX_FORCE_SYNC, checked, cString, errno, statx } from './libc.ts';
import { bind, PATH } from './native.ts';

const MS_NOSUID = 2;
const MS_NODEV = 4;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
/** Not exported before glibc 2.36; the same number everywhere. */
const SYS_OPEN_TREE = 428;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;

const mount = bind('mount', [PATH, PATH, PATH, 'ulong', PATH]);
const umount2 = bind('umount2', [PATH, 'int']);
const syscall3 = bind('syscall', ['long', 'long', PATH, 'long'], 'long');

export interface MountOptions {
  /** Lets users other than this process's into the mount. */
  readonly allowOther: boolean;
  /** Shown as the mount's source, and as the file system's type after `fuse.`. */
  readonly fsName: string;
}

/** What the kernel is told of a FUSE mount: `key=value`, or a flag. */
export function fuseOptions(fuseFd: number, { allowOther }: MountOptions): string[] {
  return [
    `fd=${fuseFd}`,
    'rootmode=40000',
    `user_id=${process.getuid?.()}`,
    `group_id=${process.getgid?.()}`,
    'default_permissions',
    ...(allowOther ? ['allow_other'] : []),
  ];
}

/**
 * Mounts a FUSE connection; returns before it was answered. The kernel checks permissions.
 * @param dir an existing directory
 * @param fuseFd /dev/fuse, open for reading and writing
 * @throws SystemError EPERM without CAP_SYS_ADMIN, ENODEV without FUSE
 */
export function mountFuse(dir: string, fuseFd: number, options: MountOptions): void {
  const data = fuseOptions(fuseFd, options).join(',');
  const attempt = (type: string): number =>
    mount(
      cString(options.fsName),
      Buffer.from(`${dir}\0`),
      cString(type),
      MS_NODEV | MS_NOSUID,
      cString(data),
    );
  let result = attempt(`fuse.${options.fsName}`);
  if (result === -errno.ENODEV || result === -errno.EINVAL) result = attempt('fuse');
  checked('mount', result, dir);
}

/**
 * Unmounts what was mounted last on `dir`.
 * @param options.detach takes it out of the tree at once; it ends with its last open file
 * @returns false when it is in use; true also when nothing was mounted there
 * @throws SystemError
 */
export function unmount(dir: string, options: { detach?: boolean } = {}): boolean {
  const flags = UMOUNT_NOFOLLOW | (options.detach ? MNT_DETACH : 0);
  const result = umount2(Buffer.from(`${dir}\0`), flags);
  if (result === -errno.EBUSY) return false;
  if (result !== -errno.EINVAL && result !== -errno.ENOENT) checked('umount2', result, dir);
  return true;
}

export interface MountEntry {
  /** As stat(2) has it in st_dev. */
  readonly dev: number;
  readonly point: string;
  readonly fsType: string;
  readonly source: string;
  /** Of the file system: `allow_other` and the like. */
  readonly options: readonly string[];
}

function unescapeOctal(field: string): string {
  const bytes = field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
  return Buffer.from(bytes, 'latin1').toString();
}

/** st_dev of a major and a minor number. */
export function makeDev(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** Reads the text of a mountinfo file, given as latin1; lines that are none are left out. */
export function parseMountInfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ', 2);
    if (right === undefined) continue;
    const fields = left.split(' ');
    const [fsType, source, options = ''] = right.split(' ');
    const [major, minor] = fields[2].split(':').map(Number);
    entries.push({
      dev: makeDev(major, minor),
      point: unescapeOctal(fields[4]),
      fsType: unescapeOctal(fsType),
      source: unescapeOctal(source),
      options: options.split(','),
    });
  }
  return entries;
}

/**
 * What is mounted on `dir`, in the order in which it was made: as a rule the last is the topmost.
 * @param dir absolute, without symbolic links
 */
export function mountsAt(dir: string): MountEntry[] {
  const entries = parseMountInfo(readFileSync('/proc/self/mountinfo', 'latin1'));
  return entries.filter((entry) => entry.point === dir);
}

/**
 * What was mounted last on `dir`.
 * @param dir absolute, without symbolic links
 */
export function mountAt(dir: string): MountEntry | undefined {
  return mountsAt(dir).at(-1);
}

/** Those that some daemon serves, or served. */
export function fuseMountsAt(dir: string): MountEntry[] {
  return mountsAt(dir).filter(({ fsType }) => /^fuse(\.|$)/.test(fsType));
}

const scratch = Buffer.alloc(256);

/**
 * Whether `dir` is a FUSE mount whose server has gone. Asks the server, not the kernel's memory: not to
 * be called by the thread that serves it.
 */
export function isDeadMount(dir: string): boolean {
  const path = Buffer.from(`${dir}\0`);
  return statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, 0x7ff, scratch) === -errno.ENOTCONN;
}

/**
 * A descriptor of a directory below which nothing is mounted: what other mounts hide is reached through it. To be closed.
 * @throws SystemError EPERM without CAP_SYS_ADMIN
 */
export function openBelowMounts(dir: string): number {
  const path = Buffer.from(`${dir}\0`);
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  return checked('open_tree', syscall3(SYS_OPEN_TREE, AT_FDCWD, path, flags), dir);
}
