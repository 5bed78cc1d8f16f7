/**
 * A folder as the root of this process, for what opens files by name and cannot be told to follow no links (SQLite, whose
 * own reading of links goes past what the kernel would refuse). Whatever a name in it leads to is in that folder: '/' is the
 * folder, a mount of its own that no other process sees, in which the kernel follows no symbolic link.
 *
 * open_tree(2) (Linux 5.2), mount_setattr(2) with MOUNT_ATTR_NOSYMFOLLOW (5.14).
 * struct mount_attr: u64 attr_set, u64 attr_clr, u64 propagation, u64 userns_fd.
 */
import fs from 'node:fs';
import { DIRECTORY } from './beneath.ts';
import { AT_EMPTY_PATH, checked, close, cString } from './libc.ts';
import { BYTES, bind, PATH } from './native.ts';

const SYS_OPEN_TREE = 428;
const SYS_MOUNT_SETATTR = 442;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOUNT_ATTR_NOSYMFOLLOW = 0x0020_0000n;
const MOUNT_ATTR_BYTES = 32;

const openTree = bind('syscall', ['long', 'int', PATH, 'uint'], 'long');
const mountSetattr = bind('syscall', ['long', 'int', PATH, 'uint', BYTES, 'size_t'], 'long');
const fchdir = bind('fchdir', ['int']);
const chroot = bind('chroot', [PATH]);

const HERE = cString('.');
const NO_NAME = cString('');

export class ClosedRoot {
  /** The folder as a mount of its own, which ends with the descriptor. */
  readonly #folder: number;
  readonly #root: number;
  readonly #workingDirectory: number;

  /**
   * `folder`: a descriptor of it. Throws SystemError: EPERM without CAP_SYS_ADMIN, ENOSYS or EINVAL where the kernel is too
   * old.
   */
  constructor(folder: number) {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    this.#folder = checked('open_tree', openTree(SYS_OPEN_TREE, folder, NO_NAME, flags));
    try {
      const attributes = Buffer.alloc(MOUNT_ATTR_BYTES);
      attributes.writeBigUInt64LE(MOUNT_ATTR_NOSYMFOLLOW, 0);
      const { length } = attributes;
      checked(
        'mount_setattr',
        mountSetattr(SYS_MOUNT_SETATTR, this.#folder, NO_NAME, AT_EMPTY_PATH, attributes, length),
      );
    } catch (error) {
      close(this.#folder);
      throw error;
    }
    this.#root = fs.openSync('/', DIRECTORY);
    this.#workingDirectory = fs.openSync('.', DIRECTORY);
  }

  /** From now on '/' is the folder, for all threads of the process. Throws SystemError EPERM without CAP_SYS_CHROOT. */
  enter(): void {
    this.#makeRoot(this.#folder);
  }

  /** From now on it is what it was. */
  leave(): void {
    this.#makeRoot(this.#root);
    checked('fchdir', fchdir(this.#workingDirectory));
  }

  close(): void {
    for (const fd of [this.#folder, this.#root, this.#workingDirectory]) fs.closeSync(fd);
  }

  /** The working directory too: what lies outside of the root could be left by '..'. */
  #makeRoot(fd: number): void {
    checked('fchdir', fchdir(fd));
    checked('chroot', chroot(HERE));
  }
}
