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
 * Both are reached through a door (store/tree-door.ts), for users own their folders. What is no file under the name of a
 * database is no database. Beside one, under the name of its -wal, -shm or -journal, it is in the way: NOT_A_FILE, also of
 * what does not need that name just now, since SQLite would find it.
 *
 * Opened when first needed; closed when the file behind the name is replaced, and before unmounting. Locks are OFD locks: POSIX locks would vanish with any other
 * descriptor of the same file in this process.
 */
import fs from 'node:fs';
import { isNotAFile, type LiteFsError } from '../../errors.ts';
import { ofdLock, ofdTest } from '../../os/locks.ts';
import { type FileLook, lookOf } from '../../store/marker.ts';
import { type Ownership, setOwnership } from '../../store/ownership.ts';
import { notAFile, parentOf, type TreeDoor } from '../../store/tree-door.ts';

/** What is kept open. A -journal comes and goes with each transaction. */
export type FileKind = 'db' | 'wal' | 'shm';
export type AnyFileKind = FileKind | 'journal';

/** Where the files are; both the same while the node is not mounted. */
export interface Roots {
  readonly mount: TreeDoor;
  readonly tree: TreeDoor;
  /**
   * Set where operations of apps that have a directory locked may wait for us (on a primary): a file that the kernel cannot
   * open without searching a directory is not waited for, since such an operation may have locked it. This is told the
   * name, to have it looked up by another thread; OpenWouldBlock is thrown.
   */
  readonly lookUp?: (name: string) => void;
  /**
   * Whether the kernel passes files through; absent: they are plain files. Where it does not, the end of a mapping waits, with
   * the memory of the process locked, for what is written back of the file; and the mount's thread, which writes it, for
   * that memory.
   */
  readonly passesAll?: () => boolean;
  /** Another number than before when a name in the tree may lead to another file; absent: that is not known. */
  readonly names?: () => number;
}

/** A database, as far as its files are concerned. */
export interface HasFiles {
  readonly files: DatabaseFiles;
}

/** A file of the mount could not be opened without waiting: try again in a moment. */
export class OpenWouldBlock extends Error {
  constructor(name: string) {
    super(`${name} is not in the kernel's cache of names`);
    this.name = 'OpenWouldBlock';
  }
}

const SUFFIX: Record<AnyFileKind, string> = {
  db: '',
  wal: '-wal',
  shm: '-shm',
  journal: '-journal',
};
const COMPANIONS = [SUFFIX.wal, SUFFIX.shm, SUFFIX.journal];
const { O_DIRECTORY, O_RDONLY, O_RDWR } = fs.constants;
const DIRECTORY_READ = O_DIRECTORY | O_RDONLY;

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
  /** The same when nothing was known to be in the way. */
  #clear: number | undefined;

  /** `beforeDatabase`: called before each change of the database file; what it throws keeps that from being made. */
  constructor(roots: Roots, name: string, beforeDatabase: () => void) {
    this.#roots = roots;
    this.#name = name;
    this.#beforeDatabase = beforeDatabase;
  }

  /** The name of a file in the tree. */
  nameOf(kind: AnyFileKind): string {
    return this.#name + SUFFIX[kind];
  }

  /** The backing tree. */
  get tree(): TreeDoor {
    return this.#roots.tree;
  }

  /** Whether a directory of the mount may be locked by an operation that waits for us. */
  get mayBeHeldUp(): boolean {
    return this.#roots.lookUp !== undefined;
  }

  /** Whether a file may be mapped. */
  get mayBeMapped(): boolean {
    return this.#roots.passesAll?.() ?? true;
  }

  get anyOpen(): boolean {
    return this.#fds.size + this.#backing.size > 0;
  }

  /** What is under the name of a -wal, -shm or -journal, and is no file: the error that says so. */
  inTheWay(): LiteFsError | undefined {
    const other = this.tree.firstOther(this.#name, COMPANIONS);
    return other && notAFile(other.name, other.kind);
  }

  /** The descriptor in the mount, for reading and writing; undefined when there is no such file. */
  fd(kind: FileKind): number | undefined {
    const open = this.#fds.get(kind);
    if (open !== undefined) return open;
    if (!this.exists(kind)) return undefined;
    const { mount, lookUp } = this.#roots;
    const fd = lookUp
      ? this.#openCached(this.nameOf(kind), lookUp)
      : mount.open(this.nameOf(kind), O_RDWR);
    if (fd !== undefined) this.#fds.set(kind, fd);
    return fd;
  }

  /** A descriptor of the -journal, for reading, which the caller closes; undefined when there is none. */
  openJournal(): number | undefined {
    return this.tree.open(this.nameOf('journal'), O_RDONLY);
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
    const fd = this.#roots.mount.create(this.nameOf(kind), O_RDWR, mode);
    this.#fds.set(kind, fd);
    return fd;
  }

  exists(kind: AnyFileKind): boolean {
    if (kind !== 'journal' && this.#isKnown(kind)) return true;
    const other = this.tree.kind(this.nameOf(kind));
    if (other === undefined || other === 'file') return other === 'file';
    if (kind === 'db') return false;
    throw notAFile(this.nameOf(kind), other);
  }

  /** How a file looks from outside; null when there is none. */
  look(kind: AnyFileKind): FileLook | null {
    return lookOf(this.tree.stat(this.nameOf(kind)));
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
    // In the mount, so that the kernel goes by them from now on.
    setOwnership(fd, { uid, gid, mode });
    this.#owned.set(kind, wanted);
  }

  /** Makes the folders above the database. Throws NOT_A_FILE. */
  makeFolders(): void {
    this.tree.makeDirectories(parentOf(this.#name));
  }

  /** Gives a folder of the mount owner and permissions; makes it, for its owner alone until then. Throws NOT_A_FILE. */
  ownFolder(name: string, ownership: Ownership): void {
    this.tree.makeDirectory(name);
    this.#roots.mount.inDirectory(name, (fd) => setOwnership(fd, ownership), DIRECTORY_READ);
  }

  /** Of the file as it is in the backing tree; undefined without one. */
  ownership(kind: FileKind): Ownership | undefined {
    const stat = this.tree.stat(this.nameOf(kind));
    return (
      stat && { uid: Number(stat.uid), gid: Number(stat.gid), mode: Number(stat.mode) & 0o7777 }
    );
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

  /** Removes the file through its name. What is none stays. */
  unlink(kind: AnyFileKind): void {
    if (kind === 'db') this.#beforeDatabase();
    if (kind !== 'journal') this.close(kind);
    if (this.tree.hasFile(this.nameOf(kind))) this.#roots.mount.unlink(this.nameOf(kind));
  }

  /** Makes a file of ours the database, where there is none; on the disk. Throws NOT_A_FILE. */
  moveIn(path: string): void {
    this.#beforeDatabase();
    this.tree.moveIn(path, this.#name);
    this.tree.syncDirectoryOf(this.#name);
  }

  /**
   * Gives a file of ours the database's name; on the disk. false when there is a file of that name: an application may have
   * it open. Throws NOT_A_FILE.
   */
  linkIn(path: string): boolean {
    this.#beforeDatabase();
    if (!this.tree.linkIn(path, this.#name)) return false;
    this.tree.syncDirectoryOf(this.#name);
    return true;
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

  /** Throws NOT_A_FILE when something is in the way. */
  refuseOthers(): void {
    const names = this.#roots.names?.();
    if (names !== undefined && names === this.#clear) return;
    const other = this.inTheWay();
    if (other) throw other;
    this.#clear = names;
  }

  /** For a database that is to be made: throws NOT_A_FILE when its name is taken. */
  refuseInPlace(): void {
    const kind = this.tree.kind(this.#name);
    if (kind !== undefined && kind !== 'file') throw notAFile(this.#name, kind);
  }

  /** Whether it is open, and its name leads to another file by now, or to none. */
  isReplaced(kind: FileKind): boolean {
    const fd = this.#backing.get(kind) ?? this.#fds.get(kind);
    if (fd === undefined) return false;
    const named = this.look(kind);
    // The mount has inode numbers of its own: only the backing file's can be compared.
    const isSame = this.#backing.has(kind)
      ? named?.ino === `${fs.fstatSync(fd, { bigint: true }).ino}`
      : named !== null && fs.fstatSync(fd).nlink > 0;
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
    fs.closeSync(this.tree.create(this.nameOf(kind), O_RDWR, mode));
    const fd = this.fd(kind);
    if (fd === undefined) throw new OpenWouldBlock(this.nameOf(kind));
    return fd;
  }

  #openCached(name: string, lookUp: (name: string) => void): number | undefined {
    const result = this.#roots.mount.openCached(name, O_RDWR);
    if (result !== 'unknown') return result;
    lookUp(name);
    throw new OpenWouldBlock(name);
  }

  /** Whether it is open, and no name has changed since that was looked at. */
  #isKnown(kind: FileKind): boolean {
    if (this.#names === undefined || this.#names !== this.#roots.names?.()) return false;
    return this.#fds.has(kind) || this.#backing.has(kind);
  }

  /** The -shm lives in the page cache of the mount; the rest is read from below. */
  #readFd(kind: FileKind): number | undefined {
    if (kind === 'shm') return this.fd(kind);
    const open = this.#backing.get(kind);
    if (open !== undefined) return open;
    const fd = this.#openBelow(kind);
    if (fd !== undefined) this.#backing.set(kind, fd);
    return fd;
  }

  #openBelow(kind: FileKind): number | undefined {
    try {
      return this.tree.open(this.nameOf(kind), O_RDONLY);
    } catch (error) {
      if (kind === 'db' && isNotAFile(error)) return undefined;
      throw error;
    }
  }
}
