/**
 * READ, WRITE, FSYNC, FALLOCATE, LSEEK.
 *
 * fuse_read_in:      0 u64 fh, 8 u64 offset, 16 u32 size
 * fuse_write_in:     0 u64 fh, 8 u64 offset, 16 u32 size, 20 u32 write_flags, 40 data
 * fuse_write_out:    0 u32 size, 4 u32 padding
 * fuse_fsync_in:     0 u64 fh, 8 u32 fsync_flags (bit 0: data only)
 * fuse_fallocate_in: 0 u64 fh, 8 u64 offset, 16 u64 length, 24 u32 mode
 * fuse_lseek_in:     0 u64 fh, 8 u64 offset, 16 u32 whence; fuse_lseek_out: 0 u64 offset
 */
import { errno, fallocate, fdatasync, fsync, lseek, pread, pwrite } from '../os/libc.ts';
import type { Outcome } from './deferrals.ts';
import type { Handle } from './handles.ts';
import type { Node } from './nodes.ts';
import { killPrivileges } from './ownership.ts';
import { MAX_TRANSFER } from './protocol.ts';
import type { Request } from './request.ts';
import type { Tree } from './tree.ts';

/** The writer may not keep set-user-id bits. */
const WRITE_KILL_SUIDGID = 1 << 2;
const FSYNC_DATA_ONLY = 1;

function fileHandle(tree: Tree, request: Request): (Handle & { kind: 'file' }) | undefined {
  const handle = tree.handles.get(request.u64(0));
  return handle?.kind === 'file' ? handle : undefined;
}

/** The open backing file of a node that has handles. */
function fdOf(node: Node): number {
  return node.open?.fd ?? -1;
}

export function readData(tree: Tree, request: Request): Outcome {
  const handle = tree.handles.get(request.u64(0));
  const offset = request.u64(8);
  const size = Math.min(request.u32(16), MAX_TRANSFER);
  const { body } = tree.device;
  if (handle?.kind === 'virtual') return handle.content.subarray(offset, offset + size).copy(body);
  if (handle?.kind !== 'file') return -errno.EBADF;
  return pread(fdOf(handle.node), body, size, offset);
}

export function writeData(tree: Tree, request: Request): Outcome {
  const handle = fileHandle(tree, request);
  if (!handle) return -errno.EBADF;
  const offset = request.u64(8);
  const size = Math.min(request.u32(16), MAX_TRANSFER);
  if (offset + size > Number.MAX_SAFE_INTEGER) return -errno.EFBIG;
  const kills = tree.killsPrivileges && (request.u32(20) & WRITE_KILL_SUIDGID) !== 0;
  const { node } = handle;
  const data = request.writeData.subarray(0, size);
  const path = tree.nodes.path(node);
  // Without a name it is no part of the tree any more, and the policy has no say.
  const verdict = path === undefined ? 0 : tree.policy.write(path, offset, data, request.asker);
  if (verdict === 0) return write(tree, node, offset, data, kills);
  const kept = verdict === 'defer' ? Buffer.from(data) : data;
  const operation = { kind: 'write', path: path ?? '', offset, data: kept } as const;
  return tree.decide(verdict, request.asker, operation, () =>
    write(tree, node, offset, kept, kills),
  );
}

function write(tree: Tree, node: Node, offset: number, data: Buffer, kills: boolean): number {
  if (kills) killPrivileges(tree, node);
  const written = pwrite(fdOf(node), data, data.length, offset);
  if (written < 0) return written;
  tree.device.bodyWords[0] = written;
  tree.device.bodyWords[1] = 0;
  return 8;
}

export function syncFile(tree: Tree, request: Request): Outcome {
  const handle = tree.handles.get(request.u64(0));
  if (handle?.kind === 'virtual') return 0;
  if (handle?.kind !== 'file') return -errno.EBADF;
  const { node } = handle;
  const { asker } = request;
  const sync = (request.u32(8) & FSYNC_DATA_ONLY) !== 0 ? fdatasync : fsync;
  const path = tree.nodes.path(node);
  const verdict = path === undefined ? 0 : tree.policy.fsync(path, fdOf(node), asker);
  return tree.decide(verdict, asker, { kind: 'fsync', path: path ?? '' }, () => {
    return sync(fdOf(node));
  });
}

export function allocate(tree: Tree, request: Request): Outcome {
  const handle = fileHandle(tree, request);
  if (!handle) return -errno.EBADF;
  const offset = request.u64(8);
  const length = request.u64(16);
  if (offset + length > Number.MAX_SAFE_INTEGER) return -errno.EFBIG;
  return fallocate(fdOf(handle.node), request.u32(24), offset, length);
}

/** SEEK_DATA and SEEK_HOLE; the descriptor's own position means nothing to anybody. */
export function seek(tree: Tree, request: Request): Outcome {
  const handle = fileHandle(tree, request);
  if (!handle) return -errno.EBADF;
  const offset = request.u64(8);
  if (offset > Number.MAX_SAFE_INTEGER) return -errno.ENXIO;
  const found = lseek(fdOf(handle.node), offset, request.u32(16));
  if (found < 0) return found;
  tree.device.bodyWords[0] = found >>> 0;
  tree.device.bodyWords[1] = Math.floor(found / 2 ** 32);
  return 8;
}
