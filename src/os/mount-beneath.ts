/**
 * A FUSE mount made beneath the one that is on a directory, so that it is there in the moment in which the other goes:
 * fsopen(2), fsconfig(2), fsmount(2), and move_mount(2) with MOVE_MOUNT_BENEATH (Linux 6.5).
 */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_STATX_DONT_SYNC,
  checked,
  close,
  cString,
  errno,
  statx,
} from './libc.ts';
import { fuseOptions, type MountOptions, makeDev } from './mounts.ts';
import { bind, PATH } from './native.ts';

const SYS_MOVE_MOUNT = 429;
const SYS_FSOPEN = 430;
const SYS_FSCONFIG = 431;
const SYS_FSMOUNT = 432;
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const MOUNT_ATTR_NOSUID = 2;
const MOUNT_ATTR_NODEV = 4;
const MOVE_MOUNT_F_EMPTY_PATH = 0x004;
const MOVE_MOUNT_BENEATH = 0x200;

const fsopen = bind('syscall', ['long', PATH, 'uint'], 'long');
const fsconfig = bind('syscall', ['long', 'int', 'uint', PATH, PATH, 'int'], 'long');
const fsmount = bind('syscall', ['long', 'int', 'uint', 'uint'], 'long');
const moveMount = bind('syscall', ['long', 'int', PATH, 'int', PATH, 'uint'], 'long');

/**
 * Mounts a FUSE connection beneath the topmost mount of `dir`; returns before it was answered.
 * @param fuseFd /dev/fuse, open for reading and writing
 * @returns the mount's st_dev; undefined where the kernel cannot do it, or nothing is mounted there: then nothing was done
 * @throws SystemError when the kernel refuses the mount itself
 */
export function mountFuseBeneath(
  dir: string,
  fuseFd: number,
  options: MountOptions,
): number | undefined {
  const context = fsopen(SYS_FSOPEN, cString('fuse'), FSOPEN_CLOEXEC);
  if (context === -errno.ENOSYS) return undefined;
  checked('fsopen', context, dir);
  let detached: number | undefined;
  try {
    configure(context, fuseFd, options);
    const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    detached = checked('fsmount', fsmount(SYS_FSMOUNT, context, FSMOUNT_CLOEXEC, attributes), dir);
    const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_BENEATH;
    const path = Buffer.from(`${dir}\0`);
    const moved = moveMount(SYS_MOVE_MOUNT, detached, cString(''), AT_FDCWD, path, flags);
    if (moved === -errno.EINVAL) return undefined;
    checked('move_mount', moved, dir);
    return devOf(detached);
  } finally {
    // What was not moved ends with its descriptor.
    if (detached !== undefined) close(detached);
    close(context);
  }
}

function configure(context: number, fuseFd: number, options: MountOptions): void {
  const set = (command: number, key: string | null, value: string | null) =>
    checked(
      `fsconfig ${key ?? 'create'}`,
      fsconfig(
        SYS_FSCONFIG,
        context,
        command,
        key === null ? null : cString(key),
        value === null ? null : cString(value),
        0,
      ),
    );
  set(FSCONFIG_SET_STRING, 'source', options.fsName);
  set(FSCONFIG_SET_STRING, 'subtype', options.fsName);
  for (const option of fuseOptions(fuseFd, options)) {
    const [key, value] = option.split('=');
    set(value === undefined ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key, value ?? null);
  }
  set(FSCONFIG_CMD_CREATE, null, null);
}

const scratch = Buffer.alloc(256);

/** st_dev of a descriptor's file, without asking a server. */
function devOf(fd: number): number {
  return devAt(fd, cString(''), AT_EMPTY_PATH);
}

/** st_dev of what a path leads to: of the topmost mount there. Asks no server. Throws SystemError. */
export function topDevOf(dir: string): number {
  return devAt(AT_FDCWD, Buffer.from(`${dir}\0`), 0);
}

function devAt(fd: number, path: Buffer, flags: number): number {
  checked('statx', statx(fd, path, flags | AT_STATX_DONT_SYNC, 0, scratch));
  return makeDev(scratch.readUInt32LE(136), scratch.readUInt32LE(140));
}
