/**
 * A directory that is held open, and what is done to the names in it. Others may change both meanwhile: the directory stays
 * the one that was opened, no link is followed, and nothing is opened before it is known to be a regular file. Only what a
 * descriptor stands for can be trusted; a name may lead elsewhere by the next call.
 *
 * All methods throw a SystemError, as node:fs does.
 */
import assert from 'node:assert';
import fs from 'node:fs';
import { O_PATH, openBeneath } from './beneath.ts';
import { AT_EMPTY_PATH, checked, cString, errno, mkdirat, renameat2, unlinkat } from './libc.ts';
import { BYTES, bind, PATH } from './native.ts';

const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const AT_REMOVEDIR = 0x200;
const LINK_BYTES_MAX = 4096;

const { O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR } = fs.constants;

const symlinkat = bind('symlinkat', [PATH, 'int', PATH]);
const readlinkat = bind('readlinkat', ['int', PATH, BYTES, 'size_t'], 'int64_t');
const fchownat = bind('fchownat', ['int', PATH, 'uint32_t', 'uint32_t', 'int']);

export type Owner = Pick<fs.Stats, 'uid' | 'gid'>;

/** What had a name when it was looked at. It stays the same, whatever has the name by now. */
export interface Held {
  /** O_PATH: it is not open. */
  readonly fd: number;
  readonly stat: fs.Stats;
}

export class Folder {
  /** O_RDONLY. */
  readonly fd: number;
  /** Where it was when it was opened: for messages, and for what is written into a link. */
  readonly path: string;

  constructor(fd: number, path: string) {
    this.fd = fd;
    this.path = path;
  }

  close(): void {
    fs.closeSync(this.fd);
  }

  stat(): fs.Stats {
    return fs.fstatSync(this.fd);
  }

  /** The path of a name in it, for messages. */
  at(name: string): string {
    return this.path === '/' ? `/${name}` : `${this.path}/${name}`;
  }

  /** What has the name, which may be a link itself; undefined when nothing has. To be closed. */
  hold(name: string): Held | undefined {
    const fd = openBeneath(this.fd, byteString(entry(name)), O_PATH);
    if (fd === -errno.ENOENT) return undefined;
    checked('openat2', fd, this.at(name));
    return { fd, stat: fs.fstatSync(fd) };
  }

  /** The same, closed already. */
  look(name: string): fs.Stats | undefined {
    const held = this.hold(name);
    if (held) fs.closeSync(held.fd);
    return held?.stat;
  }

  /** Whether the name is that of what a descriptor stands for. */
  has(name: string, fd: number): boolean {
    const stat = this.look(name);
    return stat !== undefined && isSame(stat, fs.fstatSync(fd));
  }

  /** Opens a regular file; undefined when the name is free, or of something else. `flags`: O_RDONLY or O_RDWR. */
  openFile(name: string, flags = O_RDONLY): number | undefined {
    const held = this.hold(name);
    if (!held) return undefined;
    try {
      return held.stat.isFile() ? reopen(held.fd, flags) : undefined;
    } finally {
      fs.closeSync(held.fd);
    }
  }

  /** A directory in it; undefined when the name is free. Throws ENOTDIR for anything else, a link to one as well. */
  folder(name: string): Folder | undefined {
    const flags = O_RDONLY | O_DIRECTORY;
    const fd = openBeneath(this.fd, byteString(entry(name)), flags);
    if (fd === -errno.ENOENT) return undefined;
    return new Folder(checked('openat2', fd, this.at(name)), this.at(name));
  }

  /** Makes an empty file that is ours alone, open for reading and writing. Throws EEXIST. */
  makeFile(name: string): number {
    const flags = O_CREAT | O_EXCL | O_RDWR;
    return checked(
      'openat2',
      openBeneath(this.fd, byteString(entry(name)), flags, 0o600),
      this.at(name),
    );
  }

  /**
   * Makes a directory that is ours alone. Another may have put one of ours in its place at once. It is as good as the one
   * that was made when it is empty, since the other could have removed it; else ENOTEMPTY is thrown. Throws EEXIST.
   */
  makeFolder(name: string): Folder {
    checked('mkdirat', mkdirat(this.fd, cName(name), 0o700), this.at(name));
    const made = this.folder(name);
    if (!made) throw missing(this.at(name));
    try {
      const { uid } = made.stat();
      if (uid !== process.geteuid?.()) throw missing(made.path);
      const [first] = fs.readdirSync(throughProc(made.fd));
      if (first !== undefined) checked('mkdirat', -errno.ENOTEMPTY, made.path);
      return made;
    } catch (error) {
      made.close();
      throw error;
    }
  }

  /** Makes a link that belongs to `owner`, and returns it held. Throws EEXIST. */
  makeLink(name: string, target: string, owner: Owner): Held {
    checked('symlinkat', symlinkat(cText(target), this.fd, cName(name)), this.at(name));
    const held = this.hold(name);
    if (!held) throw missing(this.at(name));
    try {
      const isOurs = held.stat.isSymbolicLink() && held.stat.uid === process.geteuid?.();
      if (!isOurs || targetOf(held) !== target) throw missing(this.at(name));
      const { uid, gid } = owner;
      checked('fchownat', fchownat(held.fd, cText(''), uid, gid, AT_EMPTY_PATH), this.at(name));
      return held;
    } catch (error) {
      fs.closeSync(held.fd);
      throw error;
    }
  }

  /** Throws EEXIST when the new name is taken. */
  move(name: string, newName: string): void {
    const flags = RENAME_NOREPLACE;
    const result = renameat2(this.fd, cName(name), this.fd, cName(newName), flags);
    checked('renameat2', result, this.at(newName));
  }

  /** Two names change places at once: at no moment is there none. */
  exchange(a: string, b: string): void {
    const result = renameat2(this.fd, cName(a), this.fd, cName(b), RENAME_EXCHANGE);
    checked('renameat2', result, this.at(a));
  }

  /** Removes a name of anything but a directory. False when it is free. */
  remove(name: string): boolean {
    return this.#unlink(name, 0);
  }

  /** Removes an empty directory. Throws ENOTEMPTY. */
  removeFolder(name: string): boolean {
    return this.#unlink(name, AT_REMOVEDIR);
  }

  /** What was done to its names is on disk when it returns. */
  sync(): void {
    fs.fsyncSync(this.fd);
  }

  #unlink(name: string, flags: number): boolean {
    const result = unlinkat(this.fd, cName(name), flags);
    if (result === -errno.ENOENT) return false;
    checked('unlinkat', result, this.at(name));
    return true;
  }
}

/** A directory by what openBeneath() gives with DIRECTORY. */
export function folderOf(fd: number, path: string): Folder {
  return new Folder(checked('openat2', openBeneath(fd, '', O_RDONLY | O_DIRECTORY), path), path);
}

/** Opens a file that is held, whatever has its name by now. */
export function reopen(fd: number, flags: number): number {
  return fs.openSync(throughProc(fd), flags);
}

/** Where a link leads, as its text says. */
export function targetOf({ fd }: Pick<Held, 'fd'>): string {
  const into = Buffer.alloc(LINK_BYTES_MAX);
  const length = checked('readlinkat', readlinkat(fd, cText(''), into, into.length));
  return into.toString('utf8', 0, length);
}

export function isSame(a: fs.Stats, b: fs.Stats): boolean {
  return a.ino === b.ino && a.dev === b.dev;
}

/** Whether none but us and root may put other things under the names in a directory. */
export function isOurs(folder: fs.Stats): boolean {
  const owners = [0, process.geteuid?.()];
  return owners.includes(folder.uid) && (folder.mode & 0o022) === 0;
}

/** A path of ours that leads to what a descriptor stands for. */
export function throughProc(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

function missing(path: string): Error {
  return Object.assign(new Error(`another has taken the place of ${path}`), {
    code: 'ESTALE',
    errno: -errno.ESTALE,
    syscall: 'openat2',
  });
}

/** One component: a path would be resolved. */
function entry(name: string): string {
  assert(name !== '' && name !== '.' && name !== '..' && !name.includes('/'), name);
  return name;
}

function cName(name: string): Buffer {
  return cText(entry(name));
}

function cText(text: string): Buffer {
  return cString(byteString(text));
}

function byteString(text: string): string {
  return Buffer.from(text).toString('latin1');
}
