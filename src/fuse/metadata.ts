/**
 * GETATTR, SETATTR, READLINK, STATFS.
 *
 * fuse_setattr_in (88 bytes):
 *    0  u32 valid   bits below      32  u64 atime   40  u64 mtime   48  u64 ctime
 *    8  u64 fh                      56  u32 atimensec   60  u32 mtimensec   64  u32 ctimensec
 *   16  u64 size                    68  u32 mode   76  u32 uid   80  u32 gid
 *
 * fuse_statfs_out (80 bytes): u64 blocks, bfree, bavail, files, ffree; 40 u32 bsize, namelen, frsize
 * struct statfs: 8 u64 bsize, blocks, bfree, bavail, files, ffree; 64 u64 namelen, frsize
 */
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  chmod,
  errno,
  fchmod,
  fchown,
  ftruncate,
  futimens,
  lchown,
  readlink,
  statfs,
  truncate,
  utimensat,
} from '../os/libc.ts';
import type { Outcome } from './deferrals.ts';
import type { Node } from './nodes.ts';
import { killPrivileges } from './ownership.ts';
import { S_IFLNK, S_IFMT } from './protocol.ts';
import type { Asker, Request } from './request.ts';
import type { Tree } from './tree.ts';

const FATTR_MODE = 1 << 0;
const FATTR_UID = 1 << 1;
const FATTR_GID = 1 << 2;
const FATTR_SIZE = 1 << 3;
const FATTR_ATIME = 1 << 4;
const FATTR_MTIME = 1 << 5;
const FATTR_ATIME_NOW = 1 << 7;
const FATTR_MTIME_NOW = 1 << 8;
const FATTR_KILL_SUIDGID = 1 << 11;
const FATTR_TIMES = FATTR_ATIME | FATTR_MTIME;
const FATTR_OTHERS = FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_TIMES;

const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;
const KEEP = 0xffffffff;
const MAX_LINK = 4096;

export function getAttributes(tree: Tree, request: Request): Outcome {
  const node = tree.nodes.get(request.nodeId);
  return node ? tree.attributes(node) : -errno.ESTALE;
}

/** What a SETATTR asks for. */
interface Change {
  readonly valid: number;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Two struct timespec. */
  readonly times: Uint32Array;
}

export function setAttributes(tree: Tree, request: Request): Outcome {
  const node = tree.nodes.get(request.nodeId);
  if (!node) return -errno.ESTALE;
  if (node.isVirtual) return -errno.EACCES;
  const { asker } = request;
  const change = readChange(request);
  const { valid, size } = change;
  if (size > Number.MAX_SAFE_INTEGER) return -errno.EFBIG;
  const path = tree.nodes.path(node);
  if (path !== undefined && (valid & FATTR_OTHERS) !== 0) {
    const refused = tree.policy.setattr(path, asker);
    if (refused !== 0) return -refused;
  }
  const asks = path !== undefined && (valid & FATTR_SIZE) !== 0;
  const verdict = asks ? tree.policy.truncate(path, size, asker) : 0;
  if (verdict === 'keep') {
    return apply(tree, asker, node, { ...change, valid: valid & ~FATTR_SIZE });
  }
  return tree.decide(verdict, asker, { kind: 'truncate', path: path ?? '', size }, () =>
    apply(tree, asker, node, change),
  );
}

function readChange(request: Request): Change {
  const valid = request.u32(0);
  const times = new Uint32Array(8);
  const putTime = (at: number, wanted: boolean, now: boolean, seconds: number, ns: number) => {
    times[at] = request.u32(seconds);
    times[at + 1] = request.u32(seconds + 4);
    if (!wanted) times[at + 2] = UTIME_OMIT;
    else times[at + 2] = now ? UTIME_NOW : request.u32(ns);
  };
  putTime(0, (valid & FATTR_ATIME) !== 0, (valid & FATTR_ATIME_NOW) !== 0, 32, 56);
  putTime(4, (valid & FATTR_MTIME) !== 0, (valid & FATTR_MTIME_NOW) !== 0, 40, 60);
  return {
    valid,
    size: (valid & FATTR_SIZE) === 0 ? 0 : request.u64(16),
    mode: request.u32(68) & 0o7777,
    uid: (valid & FATTR_UID) === 0 ? KEEP : request.u32(76),
    gid: (valid & FATTR_GID) === 0 ? KEEP : request.u32(80),
    times,
  };
}

function apply(tree: Tree, asker: Asker, node: Node, change: Change): Outcome {
  const result = make(tree, node, change);
  if (result < 0) return result;
  const path = tree.nodes.path(node);
  if ((change.valid & FATTR_SIZE) !== 0 && path !== undefined) {
    tree.policy.event({ kind: 'truncated', path, size: change.size, pid: asker.pid });
  }
  return tree.attributes(node);
}

/** Does it all, in an order in which no step undoes another. @returns 0 or a negative errno */
function make(tree: Tree, node: Node, change: Change): number {
  const { valid } = change;
  const fd = node.open?.fd;
  const path = tree.nodes.path(node);
  if (fd === undefined && path === undefined) return -errno.ESTALE;
  const backing = tree.backing(path ?? '');
  let result = 0;
  if ((valid & (FATTR_UID | FATTR_GID)) !== 0) {
    const { uid, gid } = change;
    result = fd === undefined ? lchown(backing, uid, gid) : fchown(fd, uid, gid);
  }
  if (result === 0 && (valid & FATTR_MODE) !== 0) {
    result = fd === undefined ? changeMode(tree, backing, change.mode) : fchmod(fd, change.mode);
  }
  if (result === 0 && (valid & FATTR_SIZE) !== 0) {
    result = resize(node, backing, change.size);
    if (result === 0 && (valid & FATTR_KILL_SUIDGID) !== 0) killPrivileges(tree, node);
  }
  if (result === 0 && (valid & FATTR_TIMES) !== 0) {
    const times = new Uint8Array(change.times.buffer);
    result =
      fd === undefined
        ? utimensat(AT_FDCWD, backing, times, AT_SYMLINK_NOFOLLOW)
        : futimens(fd, times);
  }
  return result;
}

/** chmod(2) follows links, and a link in the backing tree may lead anywhere. */
function changeMode(tree: Tree, backing: Buffer, mode: number): number {
  const error = tree.stat.ofPath(backing);
  if (error < 0) return error;
  return (tree.stat.mode & S_IFMT) === S_IFLNK ? -errno.EOPNOTSUPP : chmod(backing, mode);
}

function resize(node: Node, backing: Buffer, size: number): number {
  if (!node.open) return truncate(backing, size);
  const error = node.open.makeWritable();
  return error < 0 ? error : ftruncate(node.open.fd, size);
}

export function readLink(tree: Tree, request: Request): Outcome {
  const node = tree.nodes.get(request.nodeId);
  const path = node && tree.nodes.path(node);
  if (path === undefined) return -errno.ESTALE;
  return readlink(tree.backing(path), tree.device.body, MAX_LINK);
}

const fsInfo = Buffer.from(new ArrayBuffer(120));

export function statFileSystem(tree: Tree): Outcome {
  const error = statfs(tree.backing(''), fsInfo);
  if (error < 0) return error;
  const { body, bodyWords } = tree.device;
  bodyWords.fill(0, 0, 20);
  fsInfo.copy(body, 0, 16, 56);
  bodyWords[10] = fsInfo.readUInt32LE(8);
  bodyWords[11] = fsInfo.readUInt32LE(64);
  bodyWords[12] = fsInfo.readUInt32LE(72);
  return 80;
}
