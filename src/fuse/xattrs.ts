/**
 * GETXATTR, SETXATTR, LISTXATTR, REMOVEXATTR; and the sign that lets held operations go on.
 *
 * fuse_getxattr_in: 0 u32 size, 4 u32 padding, 8 name (none in LISTXATTR)
 * fuse_setxattr_in: 0 u32 size, 4 u32 flags, 8 name, then the value
 * fuse_getxattr_out: 0 u32 size, 4 u32 padding; the reply to size 0
 */
import { cString, errno } from '../os/libc.ts';
import { getxattr, listxattr, removexattr, setxattr, type XattrTarget } from '../os/xattr.ts';
import type { Outcome } from './deferrals.ts';
import type { Node } from './nodes.ts';
import { MAX_TRANSFER, ROOT_ID } from './protocol.ts';
import type { Request } from './request.ts';
import type { Tree } from './tree.ts';

function targetOf(tree: Tree, node: Node): XattrTarget | undefined {
  if (node.open) return node.open.fd;
  const path = tree.nodes.path(node);
  return path === undefined ? undefined : tree.backing(path);
}

/** The kernel would keep such a list, yet not act on it: better to have none. */
function isAcl(name: string): boolean {
  return name.startsWith('system.posix_acl_');
}

/** Makes a value of `length` that is in the body the reply, or with size 0 its length alone. */
function valueOrLength(tree: Tree, length: number, size: number): number {
  if (length < 0 || size > 0) return length;
  tree.device.bodyWords[0] = length;
  tree.device.bodyWords[1] = 0;
  return 8;
}

export function getAttribute(tree: Tree, request: Request): Outcome {
  const node = tree.nodes.get(request.nodeId);
  if (!node) return -errno.ESTALE;
  const name = request.string(8);
  if (request.nodeId === ROOT_ID) {
    const resumed = tree.policy.resumed(name, request.asker);
    // An empty value says that it goes on: what else may be at the engine's path has no such attribute.
    if (resumed) {
      return tree.resume(resumed) ? valueOrLength(tree, 0, request.u32(0)) : -errno.ENODATA;
    }
  }
  if (node.isVirtual) return -errno.ENODATA;
  if (isAcl(name)) return -errno.EOPNOTSUPP;
  const target = targetOf(tree, node);
  if (target === undefined) return -errno.ESTALE;
  const size = Math.min(request.u32(0), MAX_TRANSFER);
  const into = size > 0 ? tree.device.body : null;
  return valueOrLength(tree, getxattr(target, cString(name), into, size), size);
}

export function listAttributes(tree: Tree, request: Request): Outcome {
  const node = tree.nodes.get(request.nodeId);
  if (!node) return -errno.ESTALE;
  const size = Math.min(request.u32(0), MAX_TRANSFER);
  if (node.isVirtual) return valueOrLength(tree, 0, size);
  const target = targetOf(tree, node);
  if (target === undefined) return -errno.ESTALE;
  return valueOrLength(tree, listxattr(target, size > 0 ? tree.device.body : null, size), size);
}

export function setAttribute(tree: Tree, request: Request): Outcome {
  const name = request.string(8);
  const size = request.u32(0);
  const value = request.bytes(8 + name.length + 1, size);
  const flags = request.u32(4);
  return change(tree, request, name, (target) =>
    setxattr(target, cString(name), value, size, flags),
  );
}

export function removeAttribute(tree: Tree, request: Request): Outcome {
  const name = request.string(0);
  return change(tree, request, name, (target) => removexattr(target, cString(name)));
}

function change(
  tree: Tree,
  request: Request,
  name: string,
  make: (target: XattrTarget) => number,
): Outcome {
  const node = tree.nodes.get(request.nodeId);
  if (!node) return -errno.ESTALE;
  if (node.isVirtual) return -errno.EACCES;
  if (isAcl(name)) return -errno.EOPNOTSUPP;
  const path = tree.nodes.path(node);
  const refused = path === undefined ? 0 : tree.policy.setattr(path, request.asker);
  if (refused !== 0) return -refused;
  const target = targetOf(tree, node);
  return target === undefined ? -errno.ESTALE : make(target);
}
