/** The mount point: made ready, mounted, and given back. */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { isDeadMount, mountAt, mountFuse, unmount } from '../os/mounts.ts';
import { processesUsing, usersText } from '../os/processes.ts';

const FS_NAME = 'litefs-lite';
const UNMOUNT_RETRY_MS = 200;
const UNMOUNT_PATIENCE_MS = 10_000;

/**
 * Makes the directory when it is absent, takes a dead mount of an earlier run away, and checks that
 * nothing would be hidden. Returns its real path. Throws MOUNT_POINT.
 */
export function prepareMountPoint(dir: string, dataDir: string, log: Logger): string {
  if (isDeadMount(dir)) {
    log.warn({ dir }, `${dir} was still mounted by a daemon that died: unmounting it`);
    unmount(dir, { detach: true });
  }
  try {
    fs.mkdirSync(dir, { recursive: true });
  } catch (error) {
    throw new LiteFsError(
      'MOUNT_POINT',
      `cannot make the mount point ${dir}: ${errorText(error)}`,
      {
        hint: 'Name another directory as fuse.dir, or make this one.',
        cause: error,
      },
    );
  }
  const real = fs.realpathSync(dir);
  const mounted = mountAt(real);
  if (mounted?.fsType.startsWith('fuse')) {
    throw new LiteFsError('MOUNT_POINT', `${dir} is in use: ${mounted.source} is mounted there`, {
      hint: `Stop what mounted it, or run: umount ${dir}`,
    });
  }
  const allowed = path.relative(real, dataDir).split(path.sep)[0];
  const inTheWay = fs.readdirSync(real).filter((name) => name !== allowed);
  if (inTheWay.length > 0) {
    throw new LiteFsError(
      'MOUNT_POINT',
      `the mount point ${dir} is not empty: it has ${inTheWay.slice(0, 3).join(', ')}`,
      {
        hint: 'Move these files away. Once it is mounted, databases go in by: litefs-lite adopt FILE',
      },
    );
  }
  return real;
}

/** Opens /dev/fuse and mounts it. Returns the descriptor, to be closed last of all. Throws FUSE_UNAVAILABLE. */
export function mountDevice(dir: string, allowOther: boolean): number {
  let device: number;
  try {
    device = fs.openSync('/dev/fuse', 'r+');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new LiteFsError('FUSE_UNAVAILABLE', `cannot open /dev/fuse: ${errorText(error)}`, {
      hint: missing
        ? 'Load the module (modprobe fuse); in a container, pass --device /dev/fuse.'
        : 'Run as root.',
      cause: error,
    });
  }
  try {
    mountFuse(dir, device, { allowOther, fsName: FS_NAME });
  } catch (error) {
    fs.closeSync(device);
    throw new LiteFsError('FUSE_UNAVAILABLE', `cannot mount on ${dir}: ${errorText(error)}`, {
      hint: 'Run as root; in a container, add --cap-add SYS_ADMIN.',
      cause: error,
    });
  }
  return device;
}

/**
 * Unmounts, waiting a while for apps to let go of their files; then takes the mount out of the tree
 * anyway. Names who is in the way. `force`: does not wait. Whether it was clean.
 */
export async function releaseMountPoint(
  dir: string,
  log: Logger,
  force: AbortSignal,
): Promise<boolean> {
  const startedMs = performance.now();
  let named = false;
  while (!unmount(dir)) {
    const mounted = mountAt(dir);
    if (!named) {
      const users = mounted
        ? processesUsing(mounted.dev).filter(({ pid }) => pid !== process.pid)
        : [];
      const who = usersText(users, dir) || 'someone';
      log.warn({ dir, processes: users }, `${dir} is still in use by ${who}`);
      named = true;
    }
    if (force.aborted || performance.now() - startedMs > UNMOUNT_PATIENCE_MS) {
      log.warn({ dir }, `unmounted ${dir} under those who use it: they get errors from now on`);
      unmount(dir, { detach: true });
      return false;
    }
    await sleep(UNMOUNT_RETRY_MS);
  }
  return true;
}
