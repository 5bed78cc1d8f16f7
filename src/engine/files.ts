/**
 * The open files of one database.
 *
 * Locks, writes and the -shm go through the mount, as with any SQLite client. The database and its -wal are *read*
 * from the backing tree: the content is the same (the mount writes through), and a read there can never
 * wait for a directory that an operation we hold back has locked.
 *
 * The log of a database is its redo log. So no page of the file is written, cut off or removed by the engine before the log is
 * on the disk: each such change goes through here, which sees to it. Nothing else in the engine writes a database file.
 *
 * Opened when first needed; closed when the file behind the name is replaced, and before unmounting. Locks are OFD locks: POSIX locks would vanish with any other
 * descriptor of the same file in this process.
 */
import fs from 'node:fs';
import { errno, systemError } from '../os/libc.ts';
import { ofdLock, ofdTest } from '../os/locks.ts';
import { openCached } from '../os/open-cached.ts';
import { treePath } from '../store/layout.ts';

export type FileKind = 'db' | 'wal' | 'shm';

export interface Ownership {
  readonly uid: number;
  readonly gid: number;
  /** Permission bits. */
  readonly mode: number;
}

/** Where the files are; both the same while the node is not mounted. */
export interface Roots {
  readonly mount: string;
  readonly tree: string;
  /**
   * Set while operations of apps may wait for us (on a primary, and under the halt lock): a file that the kernel cannot
   * open without searching a directory is not waited for, since such an operation may have locked it. This is told the
   * path, to have it looked up by another thread; OpenWouldBlock is thrown.
   */
  readonly lookUp?: (path: Buffer) => void;
  /** This node has a halt lock: what removes files waits until that has ended. */
  readonly isHalted?: boolean;
  /**
   * Whether the kernel passes files through; absent: they are plain files. Where it does not, the end of a mapping waits, with
   * the memory of the process locked, for what is written back of the file; and the mount's thread, which writes it, for
   * that memory.
   */
  readonly passesAll?: () => boolean;
  /** Another number than before when a name in the tree may lead to another file; absent: that is not known. */
  readonly names?: () => number;
}

/** A file of the mount could not be opened without waiting: try again in a moment. */
export class OpenWouldBlock extends Error {
  constructor(path: string) {
    super(`${path} is not in the kernel's cache of names`);
    this.name = 'OpenWouldBlock';
  }
}

const SUFFIX: Record<FileKind, string> = { db: '', wal: '-wal', shm: '-shm' };

export class DatabaseFiles {
  readonly #roots: Roots;
  readonly #name: string;
  readonly #beforeDatabase: () => void;
  readonly #fds = new Map<FileKind, number>();
  /** Descriptors of the backing tree, for reading. */
  readonly #backing = new Map<FileKind, number>();
  /** What own() has given, of those that are open. */
  readonly #owned = new Map<FileKind, string>();
  /** Roots.names when all that is open was known to stand for its name. */
  #names: number | undefined;

  /** `beforeDatabase`: called before each change of the database file; what it throws keeps that from being made. */
  constructor(roots: Roots, name: string, beforeDatabase: () => void) {
    this.#roots = roots;
    this.#name = name;
    this.#beforeDatabase = beforeDatabase;
  }

  path(kind: FileKind): Buffer {
    return treePath(this.#roots.mount, this.#name + SUFFIX[kind]);
  }

  backingPath(kind: FileKind): Buffer {
    return treePath(this.#roots.tree, this.#name + SUFFIX[kind]);
  }

  /** Whether a directory of the mount may be locked by an operation that waits for us. */
  get mayBeHeldUp(): boolean {
    return this.#roots.lookUp !== undefined;
  }

  /** Whether files are to be removed later, since that would wait for such a directory. */
  get removesLater(): boolean {
    return this.#roots.isHalted === true;
  }

  /** Whether a file may be mapped. */
  get mayBeMapped(): boolean {
    return this.#roots.passesAll?.() ?? true;
  }

  get anyOpen(): boolean {
    return this.#fds.size + this.#backing.size > 0;
  }

  /** The descriptor in the mount, for reading and writing; undefined when there is no such file. */
  fd(kind: FileKind): number | undefined {
    const open = this.#fds.get(kind);
    if (open !== undefined) return open;
    if (!this.exists(kind)) return undefined;
    const fd = this.#roots.lookUp
      ? this.#openCached(this.path(kind), this.#roots.lookUp)
      : openIfThere(this.path(kind), fs.constants.O_RDWR);
    if (fd !== undefined) this.#fds.set(kind, fd);
    return fd;
  }

  /** Opens in the mount what is there. */
  openAll(): void {
    for (const kind of ['db', 'wal', 'shm'] as const) this.fd(kind);
  }

  /** Another descriptor of the file in the mount, with locks of its own: the caller closes it. */
  openAgain(kind: FileKind, flags: 'r' | 'r+' = 'r'): number | undefined {
    const fd = this.fd(kind);
    // By descriptor, no directory is searched.
    return fd === undefined ? undefined : fs.openSync(`/proc/self/fd/${fd}`, flags);
  }

  /** As fd(), but the file is made when it is absent, and its directory. */
  create(kind: FileKind, mode: number): number {
    const open = this.fd(kind);
    if (open !== undefined) return open;
    // In the mount, to make it would wait for the directory.
    if (this.mayBeHeldUp) return this.#createBelow(kind, mode);
    const slash = this.#name.lastIndexOf('/');
    if (slash > 0) {
      fs.mkdirSync(treePath(this.#roots.mount, this.#name.slice(0, slash)), { recursive: true });
    }
    const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW;
    const fd = fs.openSync(this.path(kind), flags, mode);
    this.#fds.set(kind, fd);
    return fd;
  }

  exists(kind: FileKind): boolean {
    return fs.existsSync(this.backingPath(kind));
  }

  /** Size in bytes; 0 when there is no such file. */
  size(kind: FileKind): number {
    const fd = this.#readFd(kind);
    return fd === undefined ? 0 : fs.fstatSync(fd).size;
  }

  /** Reads up to into.length bytes at an offset; returns how many there were (0 without a file). */
  read(kind: FileKind, into: Uint8Array, offset: number): number {
    const fd = this.#readFd(kind);
    if (fd === undefined) return 0;
    let at = 0;
    while (at < into.length) {
      const n = fs.readSync(fd, into, at, into.length - at, offset + at);
      if (n === 0) break;
      at += n;
    }
    return at;
  }

  write(kind: FileKind, bytes: Uint8Array, offset: number): void {
    if (kind === 'db') this.#beforeDatabase();
    const fd = this.fd(kind);
    if (fd === undefined)
      throw new Error(`${this.#name}${SUFFIX[kind]} is not there to be written`);
    for (let at = 0; at < bytes.length; ) {
      at += fs.writeSync(fd, bytes, at, bytes.length - at, offset + at);
    }
  }

  /** Gives a file owner and permissions. Costs nothing when they are what it was given since it was opened. */
  own(kind: FileKind, { uid, gid, mode }: Ownership): void {
    const fd = this.fd(kind);
    const wanted = `${uid} ${gid} ${mode}`;
    if (fd === undefined || this.#owned.get(kind) === wanted) return;
    const now = fs.lstatSync(this.backingPath(kind));
    // In the mount, so that the kernel goes by them from now on.
    if (now.uid !== uid || now.gid !== gid) fs.fchownSync(fd, uid, gid);
    if ((now.mode & 0o7777) !== mode) fs.fchmodSync(fd, mode);
    this.#owned.set(kind, wanted);
  }

  /** Has the disk have what was written. By the backing file: no directory of the mount is waited for. */
  sync(kind: FileKind): void {
    const fd = this.#readFd(kind);
    if (fd !== undefined) fs.fdatasyncSync(fd);
  }

  truncate(kind: FileKind, size: number): void {
    if (kind === 'db') this.#beforeDatabase();
    const fd = this.fd(kind);
    if (fd !== undefined) fs.ftruncateSync(fd, size);
  }

  /** Removes the file through its name. */
  unlink(kind: FileKind): void {
    if (kind === 'db') this.#beforeDatabase();
    this.close(kind);
    fs.rmSync(this.path(kind), { force: true });
  }

  /** false when another process holds a lock that conflicts. */
  lock(kind: FileKind, type: 'read' | 'write' | 'unlock', start: number, length: number): boolean {
    const fd = this.fd(kind);
    return fd !== undefined && ofdLock(fd, type, start, length);
  }

  /** Whether lock() would succeed; locks nothing. true without a file. */
  couldLock(kind: FileKind, type: 'read' | 'write', start: number, length: number): boolean {
    const fd = this.fd(kind);
    return fd === undefined || ofdTest(fd, type, start, length);
  }

  /** Closes what no longer stands for its name: replaced, or removed. */
  closeReplaced(): void {
    const names = this.#roots.names?.();
    if (names !== undefined && names === this.#names) return;
    this.#names = names;
    for (const kind of ['db', 'wal', 'shm'] as const) {
      if (this.isReplaced(kind)) this.close(kind);
    }
  }

  /** Whether it is open, and its name leads to another file by now, or to none. */
  isReplaced(kind: FileKind): boolean {
    const fd = this.#backing.get(kind) ?? this.#fds.get(kind);
    if (fd === undefined) return false;
    const named = fs.lstatSync(this.backingPath(kind), { throwIfNoEntry: false });
    // The mount has inode numbers of its own: only the backing file's can be compared.
    const isSame = this.#backing.has(kind)
      ? named?.ino === fs.fstatSync(fd).ino
      : named !== undefined && fs.fstatSync(fd).nlink > 0;
    return !isSame;
  }

  /** Drops the locks held through the descriptors with them. */
  close(kind?: FileKind): void {
    if (kind === undefined) this.#owned.clear();
    else this.#owned.delete(kind);
    for (const fds of [this.#fds, this.#backing]) {
      for (const [open, fd] of fds) {
        if (kind !== undefined && kind !== open) continue;
        fds.delete(open);
        fs.closeSync(fd);
      }
    }
  }

  #createBelow(kind: FileKind, mode: number): number {
    const path = this.backingPath(kind);
    fs.mkdirSync(Buffer.from(path.subarray(0, path.lastIndexOf('/'))), { recursive: true });
    const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW;
    fs.closeSync(fs.openSync(path, flags, mode));
    const fd = this.fd(kind);
    if (fd === undefined) throw new OpenWouldBlock(this.path(kind).toString('latin1'));
    return fd;
  }

  #openCached(path: Buffer, lookUp: (path: Buffer) => void): number | undefined {
    const flags = fs.constants.O_RDWR | fs.constants.O_NOFOLLOW;
    const result = openCached(Buffer.concat([path, Buffer.alloc(1)]), flags);
    if (result >= 0) return result;
    if (result === -errno.ENOENT) return undefined;
    if (result !== -errno.EAGAIN) throw systemError('open', -result, path.toString('latin1'));
    lookUp(path);
    throw new OpenWouldBlock(path.toString('latin1'));
  }

  /** The -shm lives in the page cache of the mount; the rest is read from below. */
  #readFd(kind: FileKind): number | undefined {
    if (kind === 'shm') return this.fd(kind);
    const open = this.#backing.get(kind);
    if (open !== undefined) return open;
    const fd = openIfThere(this.backingPath(kind), fs.constants.O_RDONLY);
    if (fd !== undefined) this.#backing.set(kind, fd);
    return fd;
  }
}

function openIfThere(path: Buffer, flags: number): number | undefined {
  try {
    return fs.openSync(path, flags | fs.constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
