/**
 * The mount of a running node: made, and given back. What a daemon that died has left mounted there stays until this one
 * serves, so that nobody comes to the bare folder in between.
 */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { mountFuseBeneath, topDevOf } from '../os/mount-beneath.ts';
import { fuseMountsAt, isDeadMount, mountAt, mountFuse, unmount } from '../os/mounts.ts';
import { processesUsing, usersText } from '../os/processes.ts';

const FS_NAME = 'litefs-lite';
const UNMOUNT_RETRY_MS = 200;
const UNMOUNT_PATIENCE_MS = 10_000;

/** The mount of this node. */
export class OwnMount {
  readonly dir: string;
  /** Of /dev/fuse, to be closed by whoever mounted. */
  readonly device: number;
  /** Its st_dev while a dead mount lies above it. */
  #coveredDev: number | undefined;
  /** A dead mount lies below it. */
  readonly #isAboveDead: boolean;

  /** Of mountDevice(). */
  constructor(dir: string, device: number, place: { coveredDev?: number; isAboveDead?: boolean }) {
    this.dir = dir;
    this.device = device;
    this.#coveredDev = place.coveredDev;
    this.#isAboveDead = place.isAboveDead ?? false;
  }

  /** Takes away what a daemon that died has left above it: from now on it is what applications come to. */
  uncover(): void {
    if (this.#coveredDev === undefined) return;
    for (let left = fuseMountsAt(this.dir).length - 1; left > 0; left--) {
      // Somebody else may have taken it away.
      if (topDevOf(this.dir) === this.#coveredDev) break;
      unmount(this.dir, { detach: true });
    }
    this.#coveredDev = undefined;
  }

  /**
   * Unmounts, waiting a while for apps to let go of their files; then takes the mount out of the tree
   * anyway. Names who is in the way. `force`: does not wait. Whether it was clean.
   */
  async release(log: Logger, force: AbortSignal): Promise<boolean> {
    this.uncover();
    const isClean = await unmountPatiently(this.dir, log, force);
    while (this.#isAboveDead && isDeadMount(this.dir)) unmount(this.dir, { detach: true });
    return isClean;
  }
}

/**
 * Opens /dev/fuse and mounts it: beneath a dead mount, or on top of it where the kernel cannot do that (before 6.5), and then
 * the dead one goes with ours. Throws FUSE_UNAVAILABLE.
 * @param beneath how to mount beneath another
 */
export function mountDevice(
  dir: string,
  allowOther: boolean,
  beneath: typeof mountFuseBeneath = mountFuseBeneath,
): OwnMount {
  const options = { allowOther, fsName: FS_NAME };
  const isOverDead = isDeadMount(dir);
  if (isOverDead) {
    const device = openDevice();
    const coveredDev = attempt(dir, device, () => beneath(dir, device, options));
    if (coveredDev !== undefined) return new OwnMount(dir, device, { coveredDev });
    // The kernel may have taken it for a mount that then found no place.
    fs.closeSync(device);
  }
  const device = openDevice();
  attempt(dir, device, () => mountFuse(dir, device, options));
  return new OwnMount(dir, device, { isAboveDead: isOverDead });
}

function attempt<T>(dir: string, device: number, mount: () => T): T {
  try {
    return mount();
  } catch (error) {
    fs.closeSync(device);
    throw new LiteFsError('FUSE_UNAVAILABLE', `cannot mount on ${dir}: ${errorText(error)}`, {
      hint: 'Run as root; in a container, add --cap-add SYS_ADMIN.',
      cause: error,
    });
  }
}

function openDevice(): number {
  try {
    return fs.openSync('/dev/fuse', 'r+');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new LiteFsError('FUSE_UNAVAILABLE', `cannot open /dev/fuse: ${errorText(error)}`, {
      hint: missing
        ? 'Load the module (modprobe fuse); in a container, pass --device /dev/fuse.'
        : 'Run as root.',
      cause: error,
    });
  }
}

async function unmountPatiently(dir: string, log: Logger, force: AbortSignal): Promise<boolean> {
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
