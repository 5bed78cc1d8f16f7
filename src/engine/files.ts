/**
 * The open files of one database, through the mount, as any SQLite client has them.
 *
 * Opened when first needed and closed when the file behind the name is replaced, when the database goes
 * idle, and before unmounting. Locks are OFD locks: POSIX locks would vanish with any other
 * descriptor of the same file in this process.
 */
import fs from 'node:fs';
import { ofdLock } from '../os/locks.ts';
import { treePath } from '../store/layout.ts';

export type FileKind = 'db' | 'wal' | 'shm';

const SUFFIX: Record<FileKind, string> = { db: '', wal: '-wal', shm: '-shm' };

export class DatabaseFiles {
  readonly #root: string;
  readonly #name: string;
  readonly #fds = new Map<FileKind, number>();

  /** `root`: the directory that holds the database, the mount (or the backing tree before mounting). */
  constructor(root: string, name: string) {
    this.#root = root;
    this.#name = name;
  }

  path(kind: FileKind): Buffer {
    return treePath(this.#root, this.#name + SUFFIX[kind]);
  }

  get anyOpen(): boolean {
    return this.#fds.size > 0;
  }

  /** The descriptor, opened for reading and writing; undefined when there is no such file. */
  fd(kind: FileKind): number | undefined {
    const open = this.#fds.get(kind);
    if (open !== undefined) return open;
    try {
      const fd = fs.openSync(this.path(kind), fs.constants.O_RDWR | fs.constants.O_NOFOLLOW);
      this.#fds.set(kind, fd);
      return fd;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** As fd(), but the file is made when it is absent. */
  create(kind: FileKind, mode: number): number {
    const open = this.fd(kind);
    if (open !== undefined) return open;
    const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW;
    const fd = fs.openSync(this.path(kind), flags, mode);
    this.#fds.set(kind, fd);
    return fd;
  }

  exists(kind: FileKind): boolean {
    return this.#fds.has(kind) || fs.existsSync(this.path(kind));
  }

  /** Size in bytes; 0 when there is no such file. */
  size(kind: FileKind): number {
    const fd = this.fd(kind);
    return fd === undefined ? 0 : fs.fstatSync(fd).size;
  }

  /** Reads up to into.length bytes at an offset; returns how many there were (0 without a file). */
  read(kind: FileKind, into: Uint8Array, offset: number): number {
    const fd = this.fd(kind);
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
    const fd = this.fd(kind);
    if (fd === undefined) throw new Error(`${this.#name}${SUFFIX[kind]} is not there to be written`);
    for (let at = 0; at < bytes.length; ) {
      at += fs.writeSync(fd, bytes, at, bytes.length - at, offset + at);
    }
  }

  sync(kind: FileKind): void {
    const fd = this.fd(kind);
    if (fd !== undefined) fs.fdatasyncSync(fd);
  }

  truncate(kind: FileKind, size: number): void {
    const fd = this.fd(kind);
    if (fd !== undefined) fs.ftruncateSync(fd, size);
  }

  /** Removes the file through its name. */
  unlink(kind: FileKind): void {
    this.close(kind);
    fs.rmSync(this.path(kind), { force: true });
  }

  /** false when another process holds a lock that conflicts. */
  lock(kind: FileKind, type: 'read' | 'write' | 'unlock', start: number, length: number): boolean {
    const fd = this.fd(kind);
    return fd !== undefined && ofdLock(fd, type, start, length);
  }

  /** Whether the open descriptor is still what the name stands for. */
  isCurrent(kind: FileKind): boolean {
    const fd = this.#fds.get(kind);
    if (fd === undefined) return true;
    const named = fs.lstatSync(this.path(kind), { throwIfNoEntry: false });
    return named !== undefined && named.ino === fs.fstatSync(fd).ino;
  }

  /** Drops the locks held through the descriptor with it. */
  close(kind?: FileKind): void {
    for (const [open, fd] of this.#fds) {
      if (kind !== undefined && kind !== open) continue;
      this.#fds.delete(open);
      fs.closeSync(fd);
    }
  }
}
