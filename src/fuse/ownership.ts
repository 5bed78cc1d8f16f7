/** A new file belongs to who asked for it, not to the server. */
import { chmod, errno, lchown, rmdir, unlink } from '../os/libc.ts';
import type { Node } from './nodes.ts';
import { S_IFDIR, S_IFLNK, S_IFMT } from './protocol.ts';
import type { Asker } from './request.ts';
import type { Tree } from './tree.ts';

const S_ISGID = 0o2000;
const KEEP = 0xffffffff;

/**
 * Gives a file that was just made its owner and mode; takes it away again when that fails.
 * @param mode the wanted permission bits, the caller's umask applied
 * @returns 0 or a negative errno
 */
export function makeOwn(
  tree: Tree,
  asker: Asker,
  parent: Node,
  path: string,
  mode: number,
): number {
  const backing = tree.backing(path);
  const error = own(tree, asker, parent, backing, mode);
  if (error < 0 && unlink(backing) === -errno.EISDIR) rmdir(backing);
  return error;
}

function own(tree: Tree, asker: Asker, parent: Node, backing: Buffer, mode: number): number {
  if (asker.uid !== process.getuid?.() || asker.gid !== process.getgid?.()) {
    const above = tree.load(parent);
    if (above < 0) return above;
    // In such a directory the group is the directory's, as the backing file system has seen to.
    const gid = (tree.stat.mode & S_ISGID) !== 0 ? KEEP : asker.gid;
    const error = lchown(backing, asker.uid, gid);
    if (error < 0) return error;
  }
  const error = tree.stat.ofPath(backing);
  if (error < 0) return error;
  const type = tree.stat.mode & S_IFMT;
  if (type === S_IFLNK) return 0;
  // Our own umask, and chown, may have taken bits away.
  const inherited = type === S_IFDIR ? tree.stat.mode & S_ISGID : 0;
  const wanted = mode | inherited;
  return (tree.stat.mode & 0o7777) === wanted ? 0 : chmod(backing, wanted);
}

/**
 * Takes away the set-user-id and set-group-id bits of an open file that another than its owner
 * changes: to the backing file system the writer is us.
 */
export function killPrivileges(tree: Tree, node: Node): void {
  const path = tree.nodes.path(node);
  if (path === undefined || tree.load(node) < 0) return;
  const { mode } = tree.stat;
  // Without group execution the bit means something else (mandatory locks).
  const kept = mode & ~0o4000 & ((mode & 0o010) !== 0 ? ~S_ISGID : ~0);
  if (kept !== mode) chmod(tree.backing(path), kept & 0o7777);
}
