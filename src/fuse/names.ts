/**
 * Names that come and go: LOOKUP, FORGET, MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME.
 *
 * LOOKUP, UNLINK, RMDIR: the name. SYMLINK: the name, then the target.
 * fuse_mknod_in:   0 u32 mode, 4 u32 rdev, 8 u32 umask, 16 name
 * fuse_mkdir_in:   0 u32 mode, 4 u32 umask, 8 name
 * fuse_link_in:    0 u64 oldnodeid, 8 name
 * fuse_rename_in:  0 u64 newdir, 8 old name, new name
 * fuse_rename2_in: 0 u64 newdir, 8 u32 flags, 16 old name, new name
 * fuse_forget_in:  0 u64 nlookup
 * fuse_batch_forget_in: 0 u32 count, 8 { u64 nodeid, u64 nlookup } ...
 */
import { errno, link, mkdir, mknod, rename, rmdir, symlink, unlink } from '../os/libc.ts';
import type { Outcome } from './deferrals.ts';
import type { Node } from './nodes.ts';
import { makeOwn } from './ownership.ts';
import { ENTRY_OUT, S_IFMT, S_IFREG } from './protocol.ts';
import type { Asker, Request } from './request.ts';
import type { Tree } from './tree.ts';

const RENAME_EXCHANGE = 2;
const RENAME_KNOWN_FLAGS = 3;

/** A name in a directory, and its path; undefined when the directory is gone. */
interface Place {
  readonly parent: Node;
  readonly name: string;
  readonly path: string;
}

function place(tree: Tree, parentId: number, name: string): Place | undefined {
  const parent = tree.nodes.get(parentId);
  const path = parent && tree.nodes.childPath(parent, name);
  return parent && path !== undefined ? { parent, name, path } : undefined;
}

export function lookUp(tree: Tree, request: Request): Outcome {
  const at = place(tree, request.nodeId, request.string(0));
  if (!at) return -errno.ESTALE;
  const file = tree.policy.virtual(at.path);
  if (file) {
    tree.enterVirtual(at.parent, at.name, file, 0);
    return ENTRY_OUT;
  }
  const error = tree.stat.ofPath(tree.backing(at.path));
  if (error === -errno.ENOENT) {
    dropName(tree, at.parent, at.name);
    return tree.policy.isAbsenceLasting(at.path) ? tree.absence() : error;
  }
  return error < 0 ? error : tree.entry(at.parent, at.name);
}

export function forget(tree: Tree, request: Request): Outcome {
  tree.nodes.forget(request.nodeId, request.u64(0));
  return undefined;
}

export function forgetBatch(tree: Tree, request: Request): Outcome {
  const count = request.u32(0);
  for (let i = 0; i < count; i++) {
    tree.nodes.forget(request.u64(8 + i * 16), request.u64(16 + i * 16));
  }
  return undefined;
}

/** Makes a file at a new name, for all that does not open it. */
function create(
  tree: Tree,
  request: Request,
  name: string,
  mode: number,
  make: (backing: Buffer) => number,
): Outcome {
  const at = place(tree, request.nodeId, name);
  if (!at) return -errno.ENOENT;
  const refused = refusesName(tree, request.asker, at.path);
  if (refused !== 0) return -refused;
  const backing = tree.backing(at.path);
  const error =
    make(backing) ||
    makeOwn(tree, request.asker, at.parent, at.path, mode & 0o7777) ||
    tree.stat.ofPath(backing);
  if (error < 0) return error;
  tree.policy.event({ kind: 'created', path: at.path, isFile: isFile(tree) });
  return tree.entry(at.parent, at.name);
}

function refusesName(tree: Tree, asker: Asker, path: string): number {
  return tree.policy.virtual(path) ? errno.EACCES : tree.policy.create(path, asker);
}

export function makeNode(tree: Tree, request: Request): Outcome {
  const mode = request.u32(0);
  const rdev = request.u32(4);
  return create(tree, request, request.string(16), mode, (backing) =>
    mknod(backing, mode & ~0o7000, rdev),
  );
}

export function makeDirectory(tree: Tree, request: Request): Outcome {
  const mode = request.u32(0);
  return create(tree, request, request.string(8), mode, (backing) => mkdir(backing, mode & 0o777));
}

export function makeSymlink(tree: Tree, request: Request): Outcome {
  const name = request.string(0);
  const target = Buffer.from(`${request.string(name.length + 1)}\0`, 'latin1');
  return create(tree, request, name, 0o777, (backing) => symlink(target, backing));
}

export function makeLink(tree: Tree, request: Request): Outcome {
  const at = place(tree, request.nodeId, request.string(8));
  const node = tree.nodes.get(request.u64(0));
  const existing = node && tree.nodes.path(node);
  if (!at || existing === undefined) return -errno.ENOENT;
  const refused = node?.isVirtual ? errno.EPERM : refusesName(tree, request.asker, at.path);
  if (refused !== 0) return -refused;
  const forbidden = tree.policy.link(existing, at.path, request.asker);
  if (forbidden !== 0) return -forbidden;
  const backing = tree.backing(at.path);
  const error = link(tree.backing(existing), backing) || tree.stat.ofPath(backing);
  if (error < 0) return error;
  tree.policy.event({ kind: 'created', path: at.path, isFile: isFile(tree) });
  return tree.entry(at.parent, at.name);
}

/** Whether the attributes loaded last are of a regular file. */
function isFile(tree: Tree): boolean {
  return (tree.stat.mode & S_IFMT) === S_IFREG;
}

/** A name is gone; whether its file is, too, tells the count of its links. */
function dropName(tree: Tree, parent: Node, name: string): void {
  const node = tree.nodes.child(parent, name);
  if (!node) return;
  const linked = node.open && tree.stat.ofFile(node.open.fd) === 0 && tree.stat.nlink > 0;
  tree.nodes.detach(parent, name);
  if (node.names.length === 0 && !linked) tree.nodes.disown(node);
}

export function unlinkName(tree: Tree, request: Request): Outcome {
  const parentId = request.nodeId;
  const name = request.string(0);
  const at = place(tree, parentId, name);
  if (!at) return -errno.ENOENT;
  if (tree.policy.virtual(at.path)) return -errno.EACCES;
  const verdict = tree.policy.unlink(at.path, request.asker);
  return tree.decide(verdict, request.asker, { kind: 'unlink', path: at.path }, () => {
    // Directories above may have been renamed since.
    const now = place(tree, parentId, name);
    if (!now) return -errno.ENOENT;
    const result = unlink(tree.backing(now.path));
    if (result < 0) return result;
    dropName(tree, now.parent, name);
    tree.policy.event({ kind: 'removed', path: now.path });
    return 0;
  });
}

export function removeDirectory(tree: Tree, request: Request): Outcome {
  const at = place(tree, request.nodeId, request.string(0));
  const result = at ? rmdir(tree.backing(at.path)) : -errno.ENOENT;
  if (at && result === 0) dropName(tree, at.parent, at.name);
  return result;
}

export function renameName(tree: Tree, request: Request): Outcome {
  return renameTo(tree, request, 0, 8);
}

export function renameName2(tree: Tree, request: Request): Outcome {
  return renameTo(tree, request, request.u32(8), 16);
}

function renameTo(tree: Tree, request: Request, flags: number, names: number): Outcome {
  const { asker, nodeId: parentId } = request;
  const newParentId = request.u64(0);
  const name = request.string(names);
  const newName = request.string(names + name.length + 1);
  const from = place(tree, parentId, name);
  const to = place(tree, newParentId, newName);
  if (!from || !to) return -errno.ENOENT;
  if ((flags & ~RENAME_KNOWN_FLAGS) !== 0) return -errno.EINVAL;
  if (tree.policy.virtual(from.path) || tree.policy.virtual(to.path)) return -errno.EACCES;
  const operation = { kind: 'rename', path: from.path, newPath: to.path } as const;
  return tree.decide(tree.policy.rename(from.path, to.path, asker), asker, operation, () => {
    const source = place(tree, parentId, name);
    const target = place(tree, newParentId, newName);
    return source && target ? moveName(tree, source, target, flags) : -errno.ENOENT;
  });
}

function moveName(tree: Tree, from: Place, to: Place, flags: number): number {
  const result = rename(tree.backing(from.path), tree.backing(to.path), flags);
  if (result < 0) return result;
  if ((flags & RENAME_EXCHANGE) !== 0) {
    tree.nodes.exchange(from.parent, from.name, to.parent, to.name);
  } else {
    dropName(tree, to.parent, to.name);
    tree.nodes.move(from.parent, from.name, to.parent, to.name);
  }
  tree.policy.event({ kind: 'renamed', path: from.path, newPath: to.path });
  return 0;
}
