/**
 * OPEN, CREATE and RELEASE.
 *
 * fuse_open_in:    0 u32 flags, 4 u32 open_flags
 * fuse_create_in:  0 u32 flags, 4 u32 mode, 8 u32 umask, 12 u32 open_flags, 16 name
 * fuse_release_in: 0 u64 fh, 8 u32 flags, 12 u32 release_flags, 16 u64 lock_owner
 */
import { close, errno, ftruncate } from '../os/libc.ts';
import type { Outcome } from './deferrals.ts';
import type { Node } from './nodes.ts';
import { OpenFile, reopen } from './open-file.ts';
import { killPrivileges, makeOwn } from './ownership.ts';
import type { VirtualFile } from './policy.ts';
import {
  ENTRY_OUT,
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FOPEN_PASSTHROUGH,
  OPEN_OUT,
} from './protocol.ts';
import type { Asker, Request } from './request.ts';
import type { Tree } from './tree.ts';

const O_ACCMODE = 3;
const O_RDONLY = 0;
const O_RDWR = 2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
/** In open_flags: who truncates may not keep set-user-id bits. */
const OPEN_KILL_SUIDGID = 1;
const S_ISUID_OR_ISGID = 0o6000;

export function openFile(tree: Tree, request: Request): Outcome {
  const node = tree.nodes.get(request.nodeId);
  if (!node) return -errno.ESTALE;
  const flags = request.u32(0);
  const { asker } = request;
  const kills = (request.u32(4) & OPEN_KILL_SUIDGID) !== 0;
  return node.isVirtual
    ? openVirtual(tree, asker, node, flags)
    : openNode(tree, asker, node, flags, kills, () => replyOpen(tree, asker, node, flags, 0));
}

function openVirtual(tree: Tree, asker: Asker, node: Node, flags: number): Outcome {
  if ((flags & (O_ACCMODE | O_TRUNC)) !== 0) return -errno.EACCES;
  const path = tree.nodes.path(node);
  if (path === undefined) return -errno.ESTALE;
  const give = (file: VirtualFile) => {
    node.shown = { file, handles: (node.shown?.handles ?? 0) + 1 };
    const fh = tree.handles.add({ kind: 'virtual', node, content: file.content });
    // Read past the page cache, whose size may be another's.
    putOpen(tree, 0, fh, FOPEN_DIRECT_IO, 0);
    return OPEN_OUT;
  };
  const file = tree.policy.openVirtual(path, false);
  if (file !== 'defer') return give(file);
  return tree.decide('defer', asker, { kind: 'open', path }, () => {
    const resumed = tree.policy.openVirtual(path, true);
    // It has been waited for already: there is nothing more to wait for.
    return resumed === 'defer' ? -errno.EIO : give(resumed);
  });
}

/** Opens what exists; `finish` makes the reply. */
function openNode(
  tree: Tree,
  asker: Asker,
  node: Node,
  flags: number,
  kills: boolean,
  finish: () => Outcome,
): Outcome {
  const path = tree.nodes.path(node);
  const truncates = (flags & O_TRUNC) !== 0;
  // Without a name it is no part of the tree any more, and the policy has no say.
  const refused = path === undefined ? 0 : tree.policy.open(path, flags, asker);
  if (refused !== 0) return -refused;
  const asks = truncates && path !== undefined;
  const verdict = asks ? tree.policy.truncate(path, 0, asker) : 0;
  // The kernel takes an open that has truncated for what it says.
  if (verdict === 'keep') return -errno.EROFS;
  return tree.decide(verdict, asker, { kind: 'truncate', path: path ?? '', size: 0 }, () => {
    const result = acquire(tree, asker, node, flags);
    if (result < 0) return result;
    if (truncates && kills) killPrivileges(tree, node);
    const now = tree.nodes.path(node);
    if (truncates && now !== undefined) {
      tree.policy.event({ kind: 'truncated', path: now, size: 0, pid: asker.pid });
    }
    return finish();
  });
}

/** Opens the backing file, or takes part in its being open, and truncates it if so asked. */
function acquire(tree: Tree, asker: Asker, node: Node, flags: number): number {
  const writes = (flags & O_ACCMODE) !== 0 || (flags & O_TRUNC) !== 0;
  if (!node.open) {
    const path = tree.nodes.path(node);
    if (path === undefined) return -errno.ESTALE;
    const fd = tree.open(path, writes ? O_RDWR : O_RDONLY);
    if (fd < 0) return fd === -errno.ENOENT ? -errno.ESTALE : fd;
    adopt(tree, asker, node, path, fd, writes);
  }
  const file = node.open as OpenFile;
  file.handles++;
  let result = writes ? file.makeWritable() : 0;
  if (result === 0 && (flags & O_TRUNC) !== 0) result = ftruncate(file.fd, 0);
  if (result < 0) release(tree, node);
  return result;
}

/** Makes `fd` the node's open backing file, and decides how its handles will work. */
function adopt(
  tree: Tree,
  asker: Asker,
  node: Node,
  path: string,
  fd: number,
  writable: boolean,
): void {
  let backingId = 0;
  if (tree.passes && tree.policy.mayPassthrough(path, asker)) {
    if (!hasPrivileges(tree, fd)) backingId = register(tree, fd, writable);
    if (backingId === 0) tree.policy.notPassed(path);
  }
  node.open = new OpenFile(fd, writable, backingId);
}

/**
 * Registers a backing file for passthrough. Refused for one file (say, on a file system stacked too
 * high), it is served by us: the id is 0.
 */
function register(tree: Tree, fd: number, writable: boolean): number {
  // The kernel opens it anew for each handle, as that was opened. It may keep what was registered
  // longer than we live: open for reading only, that will not look like somebody who writes.
  const reader = writable ? reopen(fd, O_RDONLY) : fd;
  if (reader < 0) return 0;
  const id = Math.max(0, tree.passthrough.register(reader));
  if (reader !== fd) close(reader);
  return id;
}

/** The kernel does not clear such bits on the writes that it passes through. */
function hasPrivileges(tree: Tree, fd: number): boolean {
  return tree.stat.ofFile(fd) === 0 && (tree.stat.mode & S_ISUID_OR_ISGID) !== 0;
}

/** Gives out a handle of an open node, in a fuse_open_out at byte `at` that ends the reply. */
function replyOpen(tree: Tree, asker: Asker, node: Node, flags: number, at: number): number {
  const file = node.open as OpenFile;
  const fh = tree.handles.add({
    kind: 'file',
    node,
    writable: (flags & O_ACCMODE) !== 0,
    pid: asker.pid,
  });
  let openFlags = file.backingId > 0 ? FOPEN_PASSTHROUGH : 0;
  if (file.backingId === 0 && isCacheGood(tree, node, file)) openFlags = FOPEN_KEEP_CACHE;
  putOpen(tree, at / 4, fh, openFlags, file.backingId);
  return at + OPEN_OUT;
}

/** Whether pages that the kernel may have kept of the file are still what it contains. */
function isCacheGood(tree: Tree, node: Node, file: OpenFile): boolean {
  if (file.handles > 1) return true;
  return node.closedAs !== undefined && tree.load(node) === 0
    ? tree.stat.version() === node.closedAs
    : false;
}

/** Puts a fuse_open_out at word `at`. */
function putOpen(tree: Tree, at: number, fh: number, flags: number, backingId: number): void {
  const words = tree.device.bodyWords;
  words[at] = fh >>> 0;
  words[at + 1] = Math.floor(fh / 2 ** 32);
  words[at + 2] = flags;
  words[at + 3] = backingId;
}

export function createFile(tree: Tree, request: Request): Outcome {
  const { asker } = request;
  const parent = tree.nodes.get(request.nodeId);
  const name = request.string(16);
  const path = parent && tree.nodes.childPath(parent, name);
  if (!parent || path === undefined) return -errno.ENOENT;
  const flags = request.u32(0);
  const mode = request.u32(4) & 0o7777;
  if (tree.policy.virtual(path)) return -errno.EACCES;
  const refused = tree.policy.create(path, asker);
  if (refused !== 0) return -refused;

  const fd = tree.open(path, O_RDWR | O_CREAT | O_EXCL, mode & 0o777);
  if (fd === -errno.EEXIST && (flags & O_EXCL) === 0) {
    const kills = (request.u32(12) & OPEN_KILL_SUIDGID) !== 0;
    return createExisting(tree, asker, parent, name, flags, kills);
  }
  if (fd < 0) return fd;
  const error = makeOwn(tree, asker, parent, path, mode) || tree.stat.ofFile(fd);
  if (error < 0) {
    close(fd);
    return error;
  }
  const node = tree.enter(parent, name, 0);
  adopt(tree, asker, node, path, fd, true);
  (node.open as OpenFile).handles = 1;
  tree.policy.event({ kind: 'created', path, isFile: true });
  return replyOpen(tree, asker, node, flags, ENTRY_OUT);
}

/** The kernel believed that there was no such name. */
function createExisting(
  tree: Tree,
  asker: Asker,
  parent: Node,
  name: string,
  flags: number,
  kills: boolean,
): Outcome {
  const path = tree.nodes.childPath(parent, name);
  const error = path === undefined ? -errno.ENOENT : tree.stat.ofPath(tree.backing(path));
  if (error < 0) return error;
  const node = tree.enter(parent, name, 0);
  const outcome = openNode(tree, asker, node, flags, kills, () => {
    const failed = tree.load(node);
    if (failed < 0) return failed;
    tree.enter(parent, name, 0);
    // This time it is the same look-up.
    node.lookups--;
    return replyOpen(tree, asker, node, flags, ENTRY_OUT);
  });
  if (outcome !== undefined && outcome < 0) tree.nodes.forget(node.id, 1);
  return outcome;
}

/** One handle less; with the last one the backing file is closed. */
function release(tree: Tree, node: Node): void {
  const file = node.open;
  if (!file || --file.handles > 0) return;
  if (file.backingId > 0) tree.passthrough.unregister(file.backingId);
  // Passed through, it had no pages of ours that could be kept.
  const cached = file.backingId === 0 && tree.stat.ofFile(file.fd) === 0;
  node.closedAs = cached ? tree.stat.version() : undefined;
  close(file.fd);
  node.open = undefined;
  tree.nodes.closed(node);
}

function hide(tree: Tree, node: Node): void {
  if (!node.shown || --node.shown.handles > 0) return;
  node.shown = undefined;
  tree.nodes.closed(node);
}

export function releaseFile(tree: Tree, request: Request): Outcome {
  const handle = tree.handles.remove(request.u64(0));
  if (handle?.kind === 'virtual') hide(tree, handle.node);
  if (handle?.kind !== 'file') return 0;
  const path = tree.nodes.path(handle.node);
  release(tree, handle.node);
  if (handle.writable && path !== undefined) {
    tree.policy.event({ kind: 'released', path, pid: handle.pid });
  }
  return 0;
}
