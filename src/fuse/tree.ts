/**
 * The state that all operations share, and what they have in common: from node to backing file,
 * from backing file to reply.
 */
import { DIRECTORY, openBeneath } from '../os/beneath.ts';
import { checked, close, cString, errno, open } from '../os/libc.ts';
import {
  ATTR_IN_ATTR_OUT,
  ATTR_IN_ENTRY,
  ENTRY_VALID_WORD,
  putAttrOut,
  putEntry,
  putStat,
  putVirtual,
} from './attributes.ts';
import { Deferrals, type Operation, type Outcome } from './deferrals.ts';
import type { FuseDevice } from './device.ts';
import { FileStat } from './file-stat.ts';
import { HandleTable } from './handles.ts';
import { type Node, NodeTree } from './nodes.ts';
import { Passthrough } from './passthrough.ts';
import type { Resumption, TreePolicy, Verdict, VirtualFile } from './policy.ts';
import { ATTR_OUT, ENTRY_OUT, S_IFDIR, S_IFMT, S_IFREG } from './protocol.ts';
import type { Asker } from './request.ts';

/**
 * Seconds for which the kernel may believe a name. All changes come through it, so this only limits
 * how long it misses one that was made behind its back.
 */
const ENTRY_VALID = 3600;
/** The same for attributes of directories: the kernel drops them itself when it changes one. */
const DIRECTORY_VALID = 3600;
/** And of files: it drops them itself with each write, also with one that it passes through. */
const ATTR_VALID = 1;

const O_CLOEXEC = 0o2000000;

/** Bytes of a path that the kernel takes, with the one that ends it. */
const PATH_MAX = 4096;
/** More than the paths that one operation takes. */
const DEEP_MAX = 4;

export class Tree {
  readonly device: FuseDevice;
  readonly policy: TreePolicy;
  readonly nodes = new NodeTree();
  readonly handles = new HandleTable();
  readonly deferrals = new Deferrals();
  readonly passthrough: Passthrough;
  /** Whether the kernel agreed to passthrough. */
  passes = false;
  /** Whether set-user-id bits are ours to clear. */
  killsPrivileges = false;
  /** The attributes that were loaded last. */
  readonly stat = new FileStat();
  readonly #root: string;
  readonly #rootFd: number;
  /** Directories half-way down to the deep files that were asked for last. */
  readonly #deep: number[] = [];

  /**
   * @param backingRoot path of the backing directory, one char a byte
   * @throws SystemError when it is none
   */
  constructor(device: FuseDevice, policy: TreePolicy, backingRoot: string) {
    this.device = device;
    this.policy = policy;
    this.passthrough = new Passthrough(device.fd);
    this.#root = backingRoot;
    this.#rootFd = checked(
      'open',
      open(cString(backingRoot), DIRECTORY | O_CLOEXEC, 0),
      backingRoot,
    );
  }

  /**
   * Where a path of the mount is in the backing tree, for the C library. The kernel and we have seen each component of it
   * to be a directory, and since then no name was changed but by requests that we have served. It is for the operation
   * that is under way.
   */
  backing(path: string): Buffer {
    // The root itself may be a symbolic link (/proc/self/fd/N), which must be followed.
    const whole = `${this.#root}/${path === '' ? '.' : path}`;
    return cString(whole.length < PATH_MAX ? whole : this.#fromHalfWay(path, whole));
  }

  /** The tree may have a longer path than the mount: what is within PATH_MAX there is to be within it here. */
  #fromHalfWay(path: string, whole: string): string {
    const end = path.lastIndexOf('/', path.length / 2);
    const fd = end > 0 ? openBeneath(this.#rootFd, path.slice(0, end), DIRECTORY) : -1;
    if (fd < 0) return whole;
    this.#deep.push(fd);
    if (this.#deep.length > DEEP_MAX) close(this.#deep.shift() as number);
    return `/proc/thread-self/fd/${fd}/${path.slice(end + 1)}`;
  }

  /**
   * Opens what is at a path of the mount in the backing tree, for whatever is done with its content. Nothing leads out of
   * there, also if a name has come to be a link behind our back. @returns a descriptor or a negative errno
   */
  open(path: string, flags: number, mode = 0): number {
    return openBeneath(this.#rootFd, path, flags, mode);
  }

  /** Loads a node's attributes into `stat`. @returns 0 or a negative errno */
  load(node: Node): number {
    if (node.open) return this.stat.ofFile(node.open.fd);
    const path = this.nodes.path(node);
    if (path === undefined) return -errno.ESTALE;
    return this.#stale(this.stat.ofPath(this.backing(path)));
  }

  /** A file that is gone behind the kernel's back: ESTALE makes it look up the name afresh. */
  #stale(result: number): number {
    return result === -errno.ENOENT ? -errno.ESTALE : result;
  }

  /**
   * What is virtual at a node's path; undefined for the backing tree's nodes and vanished ones. While
   * it is open, it is what was opened: many read as much as the size tells.
   */
  virtualOf(node: Node): VirtualFile | undefined {
    if (node.shown) return node.shown.file;
    const path = node.isVirtual ? this.nodes.path(node) : undefined;
    return path === undefined ? undefined : this.policy.virtual(path);
  }

  /** Seconds for which the attributes in `stat` may be believed. */
  attrValid(node: Node): number {
    if ((this.stat.mode & S_IFMT) === S_IFDIR) return DIRECTORY_VALID;
    if ((this.stat.mode & S_IFMT) !== S_IFREG || !this.passes) return ATTR_VALID;
    if (node.open) return ATTR_VALID;
    const path = this.nodes.path(node);
    // It may still be mapped, by somebody whose writes pass us by and tell the kernel nothing of times.
    return path === undefined || this.policy.mayPassthrough(path, undefined) ? 0 : ATTR_VALID;
  }

  /** Enters the file in `stat` under a name, and puts its fuse_entry_out at word `at`. */
  enter(parent: Node, name: string, at: number): Node {
    const node = this.nodes.enter(parent, name, this.stat.identity());
    const words = this.device.bodyWords;
    putEntry(words, at, node, ENTRY_VALID, this.attrValid(node));
    putStat(words, at + ATTR_IN_ENTRY, this.stat);
    return node;
  }

  /** The same for a virtual file, whose name and attributes hold for the moment only. */
  enterVirtual(parent: Node, name: string, file: VirtualFile, at: number): Node {
    const node = this.nodes.enter(parent, name, undefined);
    const words = this.device.bodyWords;
    putEntry(words, at, node, 0, 0);
    putVirtual(words, at + ATTR_IN_ENTRY, node, file);
    return node;
  }

  /** Makes the file in `stat` the reply, as an entry. */
  entry(parent: Node, name: string): number {
    this.enter(parent, name, 0);
    return ENTRY_OUT;
  }

  /** Makes it the reply that there is no such file, which the kernel may believe until one is made through it. */
  absence(): number {
    const words = this.device.bodyWords;
    words.fill(0, 0, ENTRY_OUT / 4);
    words[ENTRY_VALID_WORD] = ENTRY_VALID;
    return ENTRY_OUT;
  }

  /** Makes a node's attributes, loaded now, the reply. */
  attributes(node: Node): number {
    const words = this.device.bodyWords;
    if (node.isVirtual) {
      const file = this.virtualOf(node);
      if (!file) return -errno.ENOENT;
      putAttrOut(words, 0);
      putVirtual(words, ATTR_IN_ATTR_OUT, node, file);
      return ATTR_OUT;
    }
    const error = this.load(node);
    if (error < 0) return error;
    putAttrOut(words, this.attrValid(node));
    putStat(words, ATTR_IN_ATTR_OUT, this.stat);
    return ATTR_OUT;
  }

  /** Acts on a verdict: goes on now, refuses, or holds the request back until it is resumed. */
  decide(verdict: Verdict, asker: Asker, operation: Operation, goOn: () => Outcome): Outcome {
    if (verdict !== 'defer') return verdict === 0 ? goOn() : -verdict;
    const token = this.deferrals.hold({ asker, goOn });
    this.policy.deferred({ ...operation, token });
    return undefined;
  }

  /** Ends a request that was held back. @returns false when none of that token is */
  resume({ token, errno: error, perform }: Resumption): boolean {
    const held = this.deferrals.take(token);
    if (!held) return false;
    const done = error === 0 || perform ? held.goOn() : undefined;
    const outcome = error === 0 ? done : -error;
    if (outcome !== undefined) this.device.reply(held.asker, outcome);
    return true;
  }
}
