/**
 * The one door to a tree of files whose folders users own: the backing tree, and the mount.
 *
 * A user may put a link, a FIFO, a socket or a directory under any name there, at any time, and the daemon is root. So a
 * name is resolved below a descriptor of the tree and follows no link in any component (os/beneath.ts), and what was opened
 * is looked at: only a regular file is given out. What lies behind a link is not in the tree; a name that leads through
 * one leads to nothing. Something else in the place of a file is NOT_A_FILE: of the database concerned, not of the node.
 *
 * Names are byte strings (one char a byte), relative to the tree; '' is the tree itself.
 */
import fs from 'node:fs';
import { LiteFsError } from '../errors.ts';
import { DIRECTORY, O_PATH, openBeneath, openCachedBeneath } from '../os/beneath.ts';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_STATX_DONT_SYNC,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  checked,
  cString,
  errno,
  linkat,
  mkdirat,
  renameat2,
  statx,
  systemError,
  unlinkat,
} from '../os/libc.ts';
import { nameText } from './layout.ts';

/** What lies under a name. */
export type NameKind = 'file' | 'directory' | 'link' | 'FIFO' | 'socket' | 'device';

const { O_CREAT, O_DIRECTORY, O_RDONLY } = fs.constants;
const STATX_TYPE = 1;
const MODE_OFFSET = 28;
/** By the type in a mode, above its 12 bits of permissions. */
const KINDS: Readonly<Record<number, NameKind>> = {
  1: 'FIFO',
  2: 'device',
  4: 'directory',
  6: 'device',
  8: 'file',
  10: 'link',
  12: 'socket',
};
/** Its owner's alone: of who else may enter it is told apart. */
const DIRECTORY_MODE = 0o700;
/** Not there, or not to be reached through directories alone. */
const ABSENT: readonly number[] = [errno.ENOENT, errno.ENOTDIR, errno.ELOOP];
/** An open tells of a link, a socket, a directory. */
const OTHER_KIND: readonly number[] = [errno.ELOOP, errno.ENXIO, errno.EISDIR];

const info = Buffer.alloc(256);
const NO_NAME = cString('');

export class TreeDoor {
  /** A path of the whole tree, for messages. */
  readonly dir: string;
  #root: number;

  /** Throws a SystemError when it is no directory. What leads to the tree itself is ours, and may have links. */
  constructor(dir: string) {
    this.dir = dir;
    this.#root = fs.openSync(dir, DIRECTORY);
  }

  /** A descriptor of a file, which the caller closes; undefined without one. Throws NOT_A_FILE, SystemError. */
  open(name: string, flags = O_RDONLY): number | undefined {
    return this.#opened(name, openBeneath(this.#root, name, flags));
  }

  /**
   * The same, if the kernel need search no directory for it: else 'unknown'. Nor is one searched to tell what is in the
   * way: undefined is all that is said of a link or a socket.
   */
  openCached(name: string, flags: number): number | 'unknown' | undefined {
    const fd = openCachedBeneath(this.#root, name, flags);
    if (fd === -errno.EAGAIN) return 'unknown';
    return OTHER_KIND.includes(-fd) ? undefined : this.#opened(name, fd);
  }

  /** The same, made when it is absent, and the directories above it. Throws NOT_A_FILE, also of what is in their place. */
  create(name: string, flags: number, mode: number): number {
    this.makeDirectories(parentOf(name));
    const fd = this.#opened(name, openBeneath(this.#root, name, flags | O_CREAT, mode));
    if (fd === undefined) throw systemError('open', errno.ENOENT, this.#shown(name));
    return fd;
  }

  /** Calls back with a descriptor of a directory that names can be resolved in. Throws SystemError ENOENT, ENOTDIR, ELOOP. */
  inDirectory<T>(name: string, use: (fd: number) => T, flags = DIRECTORY): T {
    const fd = checked('open', openBeneath(this.#root, name, flags), this.#shown(name));
    try {
      return use(fd);
    } finally {
      fs.closeSync(fd);
    }
  }

  /** What is in a directory. Throws SystemError ENOENT, ENOTDIR, ELOOP. */
  list(name: string): fs.Dirent[] {
    const options = { withFileTypes: true, encoding: 'latin1' } as { withFileTypes: true };
    // The table of descriptors may be the thread's own.
    const read = (fd: number) => fs.readdirSync(`/proc/thread-self/fd/${fd}`, options);
    return this.inDirectory(name, read, O_RDONLY | O_DIRECTORY);
  }

  /** undefined when there is nothing. Throws SystemError. */
  kind(name: string): NameKind | undefined {
    return this.#within(name, (dir, last) => kindIn(dir, last));
  }

  /** The first of these names, which differ in their ends only, under which something else than a file is. */
  firstOther(name: string, ends: readonly string[]): { name: string; kind: NameKind } | undefined {
    return this.#within(name, (dir) => {
      const base = name.slice(name.lastIndexOf('/') + 1);
      for (const end of ends) {
        const kind = kindIn(dir, cString(base + end));
        if (kind !== undefined && kind !== 'file') return { name: name + end, kind };
      }
      return undefined;
    });
  }

  /** Whether there is a file of that name. */
  hasFile(name: string): boolean {
    return this.kind(name) === 'file';
  }

  /** Of whatever is there, a link as well; undefined when there is nothing. */
  stat(name: string): fs.BigIntStats | undefined {
    const fd = openBeneath(this.#root, name, O_PATH);
    if (fd < 0) {
      if (ABSENT.includes(-fd)) return undefined;
      throw systemError('open', -fd, this.#shown(name));
    }
    try {
      return fs.fstatSync(fd, { bigint: true });
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Makes a directory and those above it, for root alone. Throws NOT_A_FILE when something else has one of their names. */
  makeDirectories(name: string): void {
    if (name === '' || this.kind(name) === 'directory') return;
    this.makeDirectories(parentOf(name));
    this.makeDirectory(name);
  }

  /** The same of one in a directory that is there. */
  makeDirectory(name: string): void {
    if (name === '' || this.kind(name) === 'directory') return;
    const above = parentOf(name);
    const last = cString(name.slice(name.lastIndexOf('/') + 1));
    const made = this.inDirectory(above, (dir) => mkdirat(dir, last, DIRECTORY_MODE));
    if (made !== -errno.EEXIST) checked('mkdir', made, this.#shown(name));
    const kind = this.kind(name);
    if (kind !== undefined && kind !== 'directory') throw notAFile(name, kind, 'directory');
  }

  /** Removes what is no directory; nothing is no error. Throws NOT_A_FILE, SystemError. */
  unlink(name: string): void {
    const result = this.#within(name, (dir, last) => unlinkat(dir, last, 0)) ?? -errno.ENOENT;
    if (result === -errno.EISDIR) throw notAFile(name, 'directory');
    if (result !== -errno.ENOENT) checked('unlink', result, this.#shown(name));
  }

  /** Moves a file of ours in, in the place of a file or of nothing. Throws NOT_A_FILE, SystemError. */
  moveIn(from: string, name: string): void {
    this.makeDirectories(parentOf(name));
    const kind = this.kind(name);
    if (kind !== undefined && kind !== 'file') throw notAFile(name, kind);
    const path = Buffer.from(`${from}\0`);
    const move = (dir: number, last: Buffer) => renameat2(AT_FDCWD, path, dir, last, 0);
    checked('rename', this.#within(name, move) ?? -errno.ENOENT, this.#shown(name));
  }

  /** Gives a file of ours a second name here. false when that name is taken by a file. Throws NOT_A_FILE, SystemError. */
  linkIn(from: string, name: string): boolean {
    this.makeDirectories(parentOf(name));
    const path = Buffer.from(`${from}\0`);
    const link = (dir: number, last: Buffer) => linkat(AT_FDCWD, path, dir, last, 0);
    const result = this.#within(name, link) ?? -errno.ENOENT;
    if (result !== -errno.EEXIST) {
      checked('link', result, this.#shown(name));
      return true;
    }
    const kind = this.kind(name);
    if (kind !== undefined && kind !== 'file') throw notAFile(name, kind);
    return false;
  }

  /** Has the disk have the names in the directory that this one is in. Throws SystemError. */
  syncDirectoryOf(name: string): void {
    this.inDirectory(parentOf(name), (fd) => fs.fsyncSync(fd), O_RDONLY | O_DIRECTORY);
  }

  /** Moves a file out, to a path of ours. Nothing, or something else than a file, stays: false. */
  moveOut(name: string, to: string): boolean {
    if (!this.hasFile(name)) return false;
    const path = Buffer.from(`${to}\0`);
    const move = (dir: number, last: Buffer) => renameat2(dir, last, AT_FDCWD, path, 0);
    checked('rename', this.#within(name, move) ?? -errno.ENOENT, this.#shown(name));
    return true;
  }

  /** Gives a file a second name, a path of ours. false without a file. Throws NOT_A_FILE, SystemError. */
  linkOut(name: string, to: string): boolean {
    const fd = this.open(name);
    if (fd === undefined) return false;
    try {
      // Of the file that was looked at, whatever has its name by now.
      const itself = cString(`/proc/thread-self/fd/${fd}`);
      const path = Buffer.from(`${to}\0`);
      checked('link', linkat(AT_FDCWD, itself, AT_FDCWD, path, AT_SYMLINK_FOLLOW), to);
      return true;
    } finally {
      fs.closeSync(fd);
    }
  }

  /** From now on nothing is to be had through it. */
  close(): void {
    if (this.#root < 0) return;
    fs.closeSync(this.#root);
    this.#root = -1;
  }

  #opened(name: string, fd: number): number | undefined {
    if (fd >= 0) {
      const kind = kindIn(fd, NO_NAME, AT_EMPTY_PATH);
      if (kind === 'file') return fd;
      fs.closeSync(fd);
      throw notAFile(name, kind ?? 'device');
    }
    if (OTHER_KIND.includes(-fd)) {
      const kind = this.kind(name);
      if (kind !== undefined && kind !== 'file') throw notAFile(name, kind);
    }
    if (ABSENT.includes(-fd)) return undefined;
    throw systemError('open', -fd, this.#shown(name));
  }

  /** Calls back with the directory that a name is in, and its last part; undefined when there is no such directory. */
  #within<T>(name: string, use: (dir: number, last: Buffer) => T): T | undefined {
    const dir = openBeneath(this.#root, parentOf(name), DIRECTORY);
    if (dir < 0) {
      if (ABSENT.includes(-dir)) return undefined;
      throw systemError('open', -dir, this.#shown(parentOf(name)));
    }
    try {
      return use(dir, cString(name.slice(name.lastIndexOf('/') + 1)));
    } finally {
      fs.closeSync(dir);
    }
  }

  #shown(name: string): string {
    return `${this.dir}/${nameText(name)}`;
  }
}

/** '' for a name directly below the tree. */
export function parentOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf('/')));
}

/** What is in the way. `wanted`: of what. */
export function notAFile(name: string, kind: NameKind, wanted = 'file'): LiteFsError {
  const what = kind === 'link' ? 'symbolic link' : kind;
  return new LiteFsError('NOT_A_FILE', `${nameText(name)} is a ${what}, not a ${wanted}`, {
    hint: 'Remove it: the database goes on by itself then.',
  });
}

/** What a name in a directory stands for; a file system is not asked for what the kernel knows. */
function kindIn(dir: number, name: Buffer, flag = AT_SYMLINK_NOFOLLOW): NameKind | undefined {
  const result = statx(dir, name, flag | AT_STATX_DONT_SYNC, STATX_TYPE, info);
  if (result === -errno.ENOENT) return undefined;
  checked('statx', result);
  return KINDS[info.readUInt16LE(MODE_OFFSET) >> 12];
}
