/**
 * What the owner of a mounted tree decides about it. The file system itself (session.ts) mirrors a
 * backing directory; everything particular to an application comes in through this interface.
 *
 * All methods run on the FUSE thread, between a request and its reply: they must be quick and must
 * never touch the mount (that would wait for the very thread they run on).
 *
 * Paths are relative to the root of the mount, without a leading slash ('' is the root), as byte
 * strings: each char is one byte (latin1), so any file name the kernel allows survives.
 */

/** Who asks: `pid` is the *thread* id of the caller, as the kernel gives it. */
export interface Caller {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * 0: go on. A positive errno: refuse with it. 'defer': hold the request, without a reply, until
 * it is resumed by its token (see `resumed`); the operation is done then.
 */
export type Verdict = number | 'defer';

/** An operation that was held back, as told to the policy. `token` resumes it. */
export interface DeferredOperation {
  readonly token: bigint;
  readonly kind: 'open' | 'write' | 'truncate' | 'unlink' | 'rename' | 'fsync';
  readonly path: string;
  /** The target of a rename. */
  readonly newPath?: string;
  /** The new size of a truncate. */
  readonly size?: number;
  /** Of a write: where, and what. */
  readonly offset?: number;
  readonly data?: Uint8Array;
}

/**
 * How a held operation goes on. errno 0: it is done. Otherwise its caller gets that error, and it is done all the same
 * when `perform` says so.
 */
export interface Resumption {
  readonly token: bigint;
  readonly errno: number;
  readonly perform?: boolean;
}

/** Something that has happened to the tree. */
export type TreeEvent =
  /** A file came to be under a new name (open with O_CREAT, mknod, mkdir, link, symlink). */
  | { readonly kind: 'created'; readonly path: string; readonly isFile: boolean }
  /** A name was unlinked (not: a directory removed). */
  | { readonly kind: 'removed'; readonly path: string }
  /** A file or a directory; what had the new name before is gone, or (exchange) has the old one. */
  | { readonly kind: 'renamed'; readonly path: string; readonly newPath: string }
  /** O_TRUNC, truncate or ftruncate by anybody. */
  | {
      readonly kind: 'truncated';
      readonly path: string;
      readonly size: number;
      readonly pid: number;
    }
  /** A handle that had been opened for writing was closed; `pid` is the thread that had opened it. */
  | { readonly kind: 'released'; readonly path: string; readonly pid: number };

/** A small read-only file that exists only in the mount. */
export interface VirtualFile {
  readonly content: Buffer;
  /** st_mtime in ms since 1970. */
  readonly mtimeMs: number;
}

export interface TreePolicy {
  /** A virtual file at this path, or undefined; for its attributes. Looked at before the backing tree. */
  virtual(path: string): VirtualFile | undefined;
  /**
   * Whether the kernel may remember that there is no such file: then nobody makes it but through the mount. SQLite
   * asks for its journal several times in each transaction.
   */
  isAbsenceLasting(path: string): boolean;
  /**
   * Its content, for one open: reads through that handle all see it. May defer; asked again,
   * `resumed`, when the open goes on.
   */
  openVirtual(path: string, resumed: boolean): VirtualFile | 'defer';
  /** Names of virtual files to add to a listing of `dir`; `names` is what the backing tree has. */
  virtualNames(dir: string, names: readonly string[]): string[];
  /**
   * Whether reads, writes and mmaps of this file may go straight to its backing file. Asked when nobody has it open, and
   * holds until nobody has. `caller`: who opens it; undefined when nobody does, and only its attributes are wanted.
   */
  mayPassthrough(path: string, caller: Caller | undefined): boolean;

  /** A file that may be passed through is not: the kernel refuses it, or it has set-user-id bits. Before it can be used. */
  notPassed(path: string): void;

  /** Before open(2) of an existing file; `flags` as in open(2). May not defer. */
  open(path: string, flags: number, caller: Caller): number;
  /** Before a name is made: create, mknod, mkdir, symlink, link. May not defer. */
  create(path: string, caller: Caller): number;
  /** Before a file gets a second name, which create() has let pass. May not defer. */
  link(path: string, newPath: string, caller: Caller): number;
  /** Before chmod, chown, utimes, xattr. May not defer. */
  setattr(path: string, caller: Caller): number;
  /** Before a write that comes to us (no passthrough). `data` is valid during the call only. */
  write(path: string, offset: number, data: Uint8Array, caller: Caller): Verdict;
  /** 'keep': it is said to be done, and the file stays as long as it is; an open with O_TRUNC is refused. */
  truncate(path: string, size: number, caller: Caller): Verdict | 'keep';
  unlink(path: string, caller: Caller): Verdict;
  rename(path: string, newPath: string, caller: Caller): Verdict;
  /** `backing` is the open backing file of the handle. */
  fsync(path: string, backing: number, caller: Caller): Verdict;

  /** Takes over an operation that one of the above deferred. */
  deferred(operation: DeferredOperation): void;
  /**
   * Somebody asks for the extended attribute `name` of the root of the mount: if it is the agreed sign
   * that a deferred operation may go on, says which, and how. The tree then does so, replies to it, and says that
   * the attribute is there and empty; that there is none when it holds back no such operation.
   *
   * It is no look-up of a name since that waits for its directory, which the kernel keeps locked as
   * long as an unlink, a rename or a create in it is held back. Nothing is locked for an attribute.
   */
  resumed(name: string, caller: Caller): Resumption | undefined;

  /** After the fact, and before the caller hears of it. */
  event(event: TreeEvent): void;
}
