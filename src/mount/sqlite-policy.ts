/**
 * What the mounted tree does for SQLite: which files the kernel serves by itself, which operations wait
 * for the engine, and what a replica refuses.
 *
 * | operation | on a primary | on a replica |
 * | --- | --- | --- |
 * | open for writing | as is | EROFS, but for -shm (readers need it) |
 * | write that makes a database of a file | as is | EROFS |
 * | create, chmod of a database or its companions | as is | EROFS, but for -shm |
 * | create, rename to the name of a -wal or -journal | as is | EROFS, also where no database is yet |
 * | unlink, truncate of -wal | after capture | EROFS |
 * | unlink of -shm | after capture | EROFS |
 * | truncate of -shm | as is | said to be done (see below) |
 * | first fsync of a -wal that was started over | after capture | as is |
 * | end of a -journal: unlink, truncate, header zeroed | after capture | EROFS |
 * | header of a -journal that was there before | marked (see below) | EROFS |
 * | cut of a database to the size that its header says | marked (cut-marks.ts) | EROFS |
 * | unlink, rename of a database | after capture | EROFS |
 * | rename of a companion of a database | as is | EROFS |
 * | second name (hard link) for a database or a companion | EPERM | EPERM |
 * | unlink of what is no file, in the place of a companion | after capture | as is |
 * | rename of a directory | as is | EROFS when a database lies below it |
 *
 * A journal explains what is written to its database from its beginning on. The engine hears of all writes by inotify,
 * in order; so the beginning must be among that. A journal that is made is. For one that is used again
 * (journal_mode=PERSIST, TRUNCATE, locking_mode=EXCLUSIVE) its times are set, which is seen as a change of attributes.
 *
 * On a replica we make the wal-index, and it is complete before readers can see it. A SQLite connection that comes first cuts
 * the -shm and makes the index once more; one that comes second meanwhile is told SQLITE_BUSY. So that cut is left out.
 *
 * On a replica the -wal is not passed through, so that nobody writes it past this; nor is what is no database. A database of which it holds the halt
 * lock may be written there:
 *
 * | operation | under the halt lock |
 * | --- | --- |
 * | open, setattr of the database and its companions | as is |
 * | write that makes a commit frame of the -wal whole | when the primary has it, else EIO |
 * | header of the -wal | when all of it is in the database file |
 * | truncate of the -wal | said to be done: a reader that came then would read the file alone, and keep nothing from being copied |
 *
 * A journal may not be made, nor written: a replica always has a -wal, which SQLite goes by. On the primary nobody removes, renames or cuts the
 * files of a database whose write lock is lent for that (EBUSY).
 *
 * A file is a database when it begins like one; all other files are local, on any node, and kept.
 * Our own engine passes freely: it is known by its thread id.
 */
import fs from 'node:fs';
import { isOutsideFault } from '../errors.ts';
import type {
  Caller,
  DeferredOperation,
  Resumption,
  TreeEvent,
  TreePolicy,
  Verdict,
  VirtualFile,
} from '../fuse/policy.ts';
import { WAL_HEADER_BYTES } from '../sqlite/wal.ts';
import { TreeDoor } from '../store/tree-door.ts';
import { CutMarks, cutsPastTheEnd } from './cut-marks.ts';
import { judgeWalWrite, overlay } from './halt-gate.ts';
import { fileRole, LAG_FILE, POSITION_SUFFIX, PRIMARY_FILE, parseResumeName } from './names.ts';
import type { HaltState, SharedState } from './shared-state.ts';

const EPERM = 1;
const EROFS = 30;
const EIO = 5;
const EACCES = 13;
const EBUSY = 16;
const O_ACCMODE = 3;
const DATABASE_MAGIC = Buffer.from('SQLite format 3\0', 'latin1');
const POSITION_BYTES = 34;
/** What SQLite writes over the header of a journal to end it (journal_mode=PERSIST). */
const ZEROED_HEADER_BYTES = 28;
const LAG_NEVER_MS = 2147483647;

export interface PolicyOptions {
  /** The backing tree, reachable whatever is mounted over it. */
  readonly treeRoot: string;
  /** For the marks of cuts (cut-marks.ts). */
  readonly cutsDir: string;
  readonly shared: SharedState;
  /** Whether the engine takes care of a database of that name. */
  replicates(database: string): boolean;
  /** Tells the engine. */
  send(
    message:
      | { kind: 'deferred'; operation: DeferredOperation }
      | { kind: 'event'; event: TreeEvent },
  ): void;
}

export class SqlitePolicy implements TreePolicy {
  readonly #options: PolicyOptions;
  readonly #tree: TreeDoor;
  readonly #shared: SharedState;
  /** The header of each -wal when its last fsync was seen: all of it, as the same salts may be written once more. */
  readonly #walHeaders = new Map<string, string>();
  /** Journals that were made, and not written yet. */
  readonly #newJournals = new Set<string>();
  readonly #cutMarks: CutMarks;
  readonly #head = Buffer.alloc(DATABASE_MAGIC.length);
  readonly #walHeader = Buffer.alloc(WAL_HEADER_BYTES);

  constructor(options: PolicyOptions) {
    this.#options = options;
    this.#tree = new TreeDoor(options.treeRoot);
    this.#shared = options.shared;
    this.#cutMarks = new CutMarks(options.cutsDir);
  }

  virtual(path: string): VirtualFile | undefined {
    if (path === PRIMARY_FILE) {
      const content = this.#shared.primary;
      return content && { content, mtimeMs: Date.now() };
    }
    if (path === LAG_FILE) return this.#lagFile();
    if (!path.endsWith(POSITION_SUFFIX)) return undefined;
    if (!this.#isDatabase(path.slice(0, -POSITION_SUFFIX.length))) return undefined;
    return { content: Buffer.alloc(POSITION_BYTES), mtimeMs: Date.now() };
  }

  isAbsenceLasting(path: string): boolean {
    // On a replica we make them ourselves, in the backing tree.
    const { companion } = fileRole(path);
    return this.#shared.role === 'primary' && (companion === 'journal' || companion === 'wal');
  }

  openVirtual(path: string, resumed: boolean): VirtualFile | 'defer' {
    if (!path.endsWith(POSITION_SUFFIX)) {
      return this.virtual(path) ?? { content: Buffer.alloc(0), mtimeMs: Date.now() };
    }
    // The position must cover what the reader has just committed: the engine captures it first.
    return resumed ? { content: this.#shared.answer, mtimeMs: Date.now() } : 'defer';
  }

  /** Positions are found by their names alone: what copies, moves or removes a folder would stumble over them. */
  virtualNames(dir: string): string[] {
    if (dir !== '') return [];
    return this.#shared.primary ? [PRIMARY_FILE, LAG_FILE] : [LAG_FILE];
  }

  mayPassthrough(path: string, caller: Caller | undefined): boolean {
    const { companion } = fileRole(path);
    // The end of a PERSIST journal is a write, and must be seen.
    if (companion === 'journal') return false;
    if (this.#shared.role === 'primary' || companion === 'shm') return true;
    // So must the commits of a replica under the halt lock, and what applications would make a database of.
    return companion === undefined && ((caller && this.#isOurs(caller)) || this.#isDatabase(path));
  }

  notPassed(): void {
    this.#shared.passesAll = false;
  }

  open(path: string, flags: number, caller: Caller): number {
    const writes = (flags & O_ACCMODE) !== fs.constants.O_RDONLY;
    if (!writes && (flags & fs.constants.O_TRUNC) === 0) return 0;
    return this.#refuseOnReplica(path, caller);
  }

  create(path: string, caller: Caller): number {
    if (isReserved(path)) return EACCES;
    if (this.#shared.role === 'primary' || this.#isOurs(caller)) return 0;
    // A journal or -wal is the beginning of a write, also of a database that is not there yet.
    if (this.#beginsWrite(path)) return EROFS;
    return this.#refuseOnReplica(path, caller);
  }

  /** SQLite's locks and journals go by name, and so do our captures: under two names a database would be two. */
  link(path: string, newPath: string, caller: Caller): number {
    if (this.#isOurs(caller)) return 0;
    if (this.#beginsWrite(newPath)) return EROFS;
    return [path, newPath].some((name) => this.#isDatabase(fileRole(name).database)) ? EPERM : 0;
  }

  setattr(path: string, caller: Caller): number {
    return this.#refuseOnReplica(path, caller);
  }

  write(path: string, offset: number, data: Uint8Array, caller: Caller): Verdict {
    const { companion } = fileRole(path);
    if (companion === 'shm' || this.#isOurs(caller)) return 0;
    if (companion === undefined) return this.#dataWrite(path, offset, data);
    if (this.#shared.role === 'replica') {
      const halt = companion === 'wal' ? this.#halt(path) : 'none';
      if (halt === 'none') return this.#isDatabase(fileRole(path).database) ? EROFS : 0;
      return halt === 'open' ? this.#walWrite(path, offset, data) : EIO;
    }
    if (companion === 'wal' || offset !== 0) return 0;
    if (data.length > ZEROED_HEADER_BYTES) this.#journalBegins(path);
    if (data.length !== ZEROED_HEADER_BYTES) return 0;
    return data.every((byte) => byte === 0) ? 'defer' : 0;
  }

  truncate(path: string, size: number, caller: Caller): Verdict | 'keep' {
    if (this.#isOurs(caller)) return 0;
    if (this.#isReadersIndex(path)) return 'keep';
    const { companion } = fileRole(path);
    if (this.#halt(path) !== 'none') {
      if (companion === 'journal') return EROFS;
      // Of an empty one SQLite would think that it is none.
      return companion === 'wal' ? 'keep' : 0;
    }
    const refused = this.#refuseOnReplica(path, caller) || this.#refuseWhileLent(path);
    if (refused !== 0) return refused;
    if (companion === undefined && size > 0 && this.#shared.role === 'primary') {
      this.#cutBegins(path, size);
    }
    // With a journal_size_limit, what is cut off a -wal may be the end of a generation.
    return companion === 'wal' || (companion === 'journal' && size === 0) ? 'defer' : 0;
  }

  unlink(path: string, caller: Caller): Verdict {
    if (this.#isOurs(caller)) return 0;
    // What is no file is in the way of one, and may go.
    if (this.#keepsName(path)) return (this.#tree.kind(path) ?? 'file') === 'file' ? EROFS : 0;
    const lent = this.#refuseWhileLent(path);
    if (lent !== 0) return lent;
    const role = fileRole(path);
    if (role.companion !== undefined) return this.#isDatabase(role.database) ? 'defer' : 0;
    return this.#isDatabase(path) ? 'defer' : 0;
  }

  rename(path: string, newPath: string, caller: Caller): Verdict {
    if (this.#isOurs(caller)) return 0;
    if (isReserved(newPath)) return EACCES;
    if (this.#keepsName(path) || this.#keepsName(newPath)) return EROFS;
    const lent = this.#refuseWhileLent(path) || this.#refuseWhileLent(newPath);
    if (lent !== 0) return lent;
    // RENAME_EXCHANGE moves both, if both are there.
    if (this.#beginsWrite(newPath)) return EROFS;
    if (this.#beginsWrite(path) && this.#tree.kind(newPath) !== undefined) return EROFS;
    if (this.#shared.role === 'replica' && [path, newPath].some((dir) => this.#hasDatabases(dir))) {
      return EROFS;
    }
    return this.#isDatabase(path) || this.#isDatabase(newPath) ? 'defer' : 0;
  }

  fsync(path: string, backing: number, caller: Caller): Verdict {
    if (this.#isOurs(caller) || this.#shared.role === 'replica') return 0;
    if (fileRole(path).companion !== 'wal' || this.#refuseWhileLent(path) !== 0) return 0;
    const read = fs.readSync(backing, this.#walHeader, 0, WAL_HEADER_BYTES, 0);
    if (read < WAL_HEADER_BYTES) return 0;
    const header = this.#walHeader.toString('latin1');
    if (this.#walHeaders.get(path) === header) return 0;
    this.#walHeaders.set(path, header);
    return 'defer';
  }

  deferred(operation: DeferredOperation): void {
    this.#options.send({ kind: 'deferred', operation });
  }

  resumed(name: string, caller: Caller): Resumption | undefined {
    return this.#isOurs(caller) ? parseResumeName(name) : undefined;
  }

  event(event: TreeEvent): void {
    if (event.kind === 'removed') this.#walHeaders.delete(event.path);
    if (event.kind === 'truncated') this.#cutMarks.end();
    if (isOfJournal(event)) {
      if (event.kind === 'created') this.#newJournals.add(event.path);
      if (event.kind === 'removed') this.#newJournals.delete(event.path);
      return;
    }
    this.#shared.nameChanged();
    this.#options.send({ kind: 'event', event });
  }

  #isOurs(caller: Caller): boolean {
    return caller.pid === this.#shared.engineThread;
  }

  /** A replica's databases, and what stands beside them, are written by us alone. */
  #refuseOnReplica(path: string, caller: Caller): number {
    if (this.#shared.role === 'primary' || this.#isOurs(caller)) return 0;
    const { database, companion } = fileRole(path);
    if (companion === 'shm' || this.#shared.haltOf(database) === 'open') return 0;
    return this.#isDatabase(database) ? EROFS : 0;
  }

  /**
   * While the write lock of a database is lent, its files stay as they are, but for what the engine writes. Not held back: the
   * kernel keeps a file locked meanwhile, and what the engine writes would wait for that.
   */
  #refuseWhileLent(path: string): number {
    const { database } = fileRole(path);
    return this.#shared.isLent(() => this.#tree.stat(database)?.ino) ? EBUSY : 0;
  }

  /**
   * Whether a file has to stay under its name. On a replica also the -shm, which applications may write: who has one open
   * that is gone sees nothing new, and nobody heeds its locks. Nor may its removal be held back there: the kernel keeps the
   * file and its directory locked meanwhile, and what is being applied would wait for both.
   */
  #keepsName(path: string): boolean {
    return this.#shared.role === 'replica' && this.#isDatabase(fileRole(path).database);
  }

  /** Whether a replica is to have no such file: a journal or -wal begins a write, also of a database that is not there yet. */
  #beginsWrite(path: string): boolean {
    const { companion } = fileRole(path);
    return this.#shared.role === 'replica' && (companion === 'journal' || companion === 'wal');
  }

  /** Whether it is the -shm of a replica's database, whose size is ours to say. */
  #isReadersIndex(path: string): boolean {
    const { database, companion } = fileRole(path);
    if (companion !== 'shm' || this.#shared.role !== 'replica') return false;
    return this.#options.replicates(database) && this.#isDatabase(database);
  }

  /** Whether this node, a replica, holds the halt lock of the database that a file belongs to. */
  #halt(path: string): HaltState {
    if (this.#shared.role === 'primary') return 'none';
    return this.#shared.haltOf(fileRole(path).database);
  }

  /**
   * On a replica nobody but us makes a database. Nor does anybody write one who had the file open before it came to be one,
   * or has it open since the node had its halt lock.
   */
  #dataWrite(path: string, offset: number, data: Uint8Array): Verdict {
    if (this.#shared.role === 'primary' || this.#halt(path) !== 'none') return 0;
    const fd = this.#open(path);
    if (fd === undefined) return 0;
    try {
      const read = fs.readSync(fd, this.#head.fill(0), 0, this.#head.length, 0);
      const isOne = (known: number) =>
        known === this.#head.length && this.#head.equals(DATABASE_MAGIC);
      return isOne(read) || isOne(overlay(this.#head, read, 0, { offset, data })) ? EROFS : 0;
    } finally {
      fs.closeSync(fd);
    }
  }

  #walWrite(path: string, offset: number, data: Uint8Array): Verdict {
    const fd = this.#open(path);
    if (fd === undefined) return EIO;
    try {
      return judgeWalWrite(fd, offset, data, this.#shared.haltWalBytes);
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Before the header of a journal is written, and so before the database is. */
  #journalBegins(path: string): void {
    if (this.#newJournals.delete(path) || this.#shared.role === 'replica') return;
    // Without the mark every page is compared when it ends.
    const fd = this.#open(path);
    if (fd === undefined) return;
    const now = new Date();
    try {
      fs.futimesSync(fd, now, now);
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Before a file is cut: SQLite does it after a commit, and the engine is not to take it for another. */
  #cutBegins(path: string, size: number): void {
    const fd = this.#open(path);
    if (fd === undefined) return;
    try {
      if (cutsPastTheEnd(fd, size)) this.#cutMarks.begin(path);
    } finally {
      fs.closeSync(fd);
    }
  }

  /** A backing file, for reading; undefined of what is none, too. */
  #open(path: string): number | undefined {
    try {
      return this.#tree.open(path);
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
      return undefined;
    }
  }

  /** Whether a database lies somewhere below a directory; false when it is none. */
  #hasDatabases(dir: string): boolean {
    if (this.#tree.kind(dir) !== 'directory') return false;
    return this.#tree.list(dir).some(({ name }) => {
      const path = `${dir}/${name}`;
      return this.#isDatabase(path) || this.#hasDatabases(path);
    });
  }

  #isDatabase(path: string): boolean {
    const fd = this.#open(path);
    if (fd === undefined) return false;
    try {
      const read = fs.readSync(fd, this.#head, 0, this.#head.length, 0);
      return read === this.#head.length && this.#head.equals(DATABASE_MAGIC);
    } finally {
      fs.closeSync(fd);
    }
  }

  #lagFile(): VirtualFile {
    const lagMs = this.#shared.role === 'primary' ? 0 : (this.#shared.lagMs ?? LAG_NEVER_MS);
    const capped = Math.min(LAG_NEVER_MS, Math.max(0, Math.round(lagMs)));
    const clockMs = this.#shared.role === 'primary' ? Date.now() : this.#shared.lagClockMs;
    const text = `+${capped.toString().padStart(9, '0')}\n`;
    return { content: Buffer.from(text), mtimeMs: clockMs };
  }
}

/** A journal's end is a held operation; that it comes and goes tells the engine nothing, and is a wake-up per commit. */
function isOfJournal(event: TreeEvent): boolean {
  // What is no file is no journal, and in the way of one.
  if (event.kind === 'renamed' || (event.kind === 'created' && !event.isFile)) return false;
  return fileRole(event.path).companion === 'journal';
}

/** Names that are ours to give. */
function isReserved(path: string): boolean {
  return path === PRIMARY_FILE || path === LAG_FILE || parseResumeName(path) !== undefined;
}
