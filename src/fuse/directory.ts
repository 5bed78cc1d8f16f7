/**
 * OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR.
 *
 * fuse_open_in: 0 u32 flags. fuse_read_in: 0 u64 fh, 8 u64 offset, 16 u32 size.
 * fuse_release_in and fuse_fsync_in begin with u64 fh.
 *
 * fuse_dirent, padded to 8 bytes (in READDIRPLUS it follows a fuse_entry_out):
 *    0  u64 ino
 *    8  u64 off      where the next one begins: here, its index in the listing
 *   16  u32 namelen
 *   20  u32 type
 *   24  name
 */
import { close, errno, fsync } from '../os/libc.ts';
import type { Outcome } from './deferrals.ts';
import type { DirectoryHandle } from './handles.ts';
import { type ListingEntry, readListing, withVirtual } from './listing.ts';
import type { Node } from './nodes.ts';
import { ENTRY_OUT, MAX_TRANSFER, OPEN_OUT } from './protocol.ts';
import type { Request } from './request.ts';
import type { Tree } from './tree.ts';

const O_DIRECTORY = process.arch === 'arm64' ? 0o40000 : 0o200000;
const DIRENT = 24;

export function openDirectory(tree: Tree, request: Request): Outcome {
  const node = tree.nodes.get(request.nodeId);
  const path = node && tree.nodes.path(node);
  if (!node || path === undefined) return -errno.ESTALE;
  const fd = tree.open(path, O_DIRECTORY);
  if (fd < 0) return fd === -errno.ENOENT ? -errno.ESTALE : fd;
  const fh = tree.handles.add({ kind: 'directory', node, fd, listing: undefined });
  const words = tree.device.bodyWords;
  words[0] = fh >>> 0;
  words[1] = Math.floor(fh / 2 ** 32);
  words[2] = 0;
  words[3] = 0;
  return OPEN_OUT;
}

function directoryHandle(tree: Tree, request: Request): DirectoryHandle | undefined {
  const handle = tree.handles.get(request.u64(0));
  return handle?.kind === 'directory' ? handle : undefined;
}

export function readDirectory(tree: Tree, request: Request): Outcome {
  return read(tree, request, false);
}

export function readDirectoryPlus(tree: Tree, request: Request): Outcome {
  return read(tree, request, true);
}

function read(tree: Tree, request: Request, plus: boolean): Outcome {
  const handle = directoryHandle(tree, request);
  if (!handle) return -errno.EBADF;
  const offset = request.u64(8);
  if (offset === 0 || !handle.listing) {
    const error = list(tree, handle);
    if (error < 0) return error;
  }
  const size = Math.min(request.u32(16), MAX_TRANSFER);
  const listing = handle.listing ?? [];
  let at = 0;
  for (let index = offset; index < listing.length; index++) {
    const next = put(tree, handle.node, listing[index], index + 1, at, size, plus);
    if (next < 0) break;
    at = next;
  }
  return at;
}

/** Takes the listing anew: from the start (rewinddir), changes must be seen. */
function list(tree: Tree, handle: DirectoryHandle): number {
  const entries = readListing(handle.fd);
  if (typeof entries === 'number') return entries;
  const path = tree.nodes.path(handle.node);
  if (path === undefined) {
    handle.listing = entries;
    return 0;
  }
  const names = entries.map((entry) => entry.name).filter((name) => name !== '.' && name !== '..');
  handle.listing = withVirtual(entries, tree.policy.virtualNames(path, names));
  return 0;
}

/** Puts one entry at byte `at`. @returns where the next one goes, or -1 when there is no room */
function put(
  tree: Tree,
  parent: Node,
  entry: ListingEntry,
  nextOffset: number,
  at: number,
  size: number,
  plus: boolean,
): number {
  const dirent = at + (plus ? ENTRY_OUT : 0);
  const end = dirent + ((DIRENT + entry.name.length + 7) & ~7);
  if (end > size) return -1;
  if (plus) putPlus(tree, parent, entry, at / 4);
  const words = tree.device.bodyWords.subarray(dirent / 4);
  // The name's padding lies in the last two words.
  tree.device.bodyWords.fill(0, end / 4 - 2, end / 4);
  words[0] = entry.inoLow;
  words[1] = entry.inoHigh;
  words[2] = nextOffset >>> 0;
  words[3] = Math.floor(nextOffset / 2 ** 32);
  words[4] = entry.name.length;
  words[5] = entry.type;
  tree.device.body.write(entry.name, dirent + DIRENT, 'latin1');
  return end;
}

/** Each entry counts as a look-up; node id 0 tells the kernel nothing. */
function putPlus(tree: Tree, parent: Node, entry: ListingEntry, at: number): void {
  tree.device.bodyWords.fill(0, at, at + ENTRY_OUT / 4);
  if (entry.name === '.' || entry.name === '..') return;
  const path = tree.nodes.childPath(parent, entry.name);
  if (path === undefined) return;
  if (entry.isVirtual) {
    const file = tree.policy.virtual(path);
    if (file) tree.enterVirtual(parent, entry.name, file, at);
    return;
  }
  if (tree.stat.ofPath(tree.backing(path)) < 0) return;
  tree.enter(parent, entry.name, at);
}

export function releaseDirectory(tree: Tree, request: Request): Outcome {
  const handle = tree.handles.remove(request.u64(0));
  if (handle?.kind === 'directory') close(handle.fd);
  return 0;
}

export function syncDirectory(tree: Tree, request: Request): Outcome {
  const handle = directoryHandle(tree, request);
  return handle ? fsync(handle.fd) : -errno.EBADF;
}
