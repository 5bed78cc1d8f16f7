/** The mount point, before it is mounted: made ready, checked, and guarded. */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { isImmutable } from '../os/immutable.ts';
import { fuseMountsAt, isDeadMount, type MountEntry, mountAt, unmount } from '../os/mounts.ts';
import { makeOpenFolder } from '../os/open-folder.ts';
import {
  type Guarding,
  guardBareFolder,
  openBareFolder,
  realFolder,
  unguardBareFolder,
} from './bare-folder.ts';

/**
 * Makes the directory when it is absent, and checks that nothing would be hidden. A dead mount of an earlier run stays;
 * where data.dir lies below it, it is taken away: SQLite finds the databases by their names. Returns its real path. Throws
 * MOUNT_POINT.
 */
export function prepareMountPoint(dir: string, dataDir: string, log: Logger): string {
  const real = isDeadMount(dir) ? prepareDead(dir, dataDir, log) : prepareFree(dir);
  const bare = openBareFolder(real);
  // What another mount hides was looked at before that daemon died.
  if (bare === undefined) return real;
  try {
    checkEmpty(dir, bare, path.relative(real, dataDir).split(path.sep)[0]);
  } finally {
    fs.closeSync(bare);
  }
  makeWay(real, dataDir);
  return real;
}

/** A data.dir in the folder cannot be made while that is immutable; it is guarded again in a moment. */
function makeWay(real: string, dataDir: string): void {
  if (isInside(dataDir, real) && !fs.existsSync(dataDir)) unguardBareFolder(real);
}

function prepareFree(dir: string): string {
  makeFolder(dir);
  const real = fs.realpathSync(dir);
  refuseUsed(dir, mountAt(real));
  return real;
}

function makeFolder(dir: string): void {
  try {
    makeOpenFolder(dir);
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
}

/** Returns the real path, which a dead mount does not tell: its folder does. */
function prepareDead(dir: string, dataDir: string, log: Logger): string {
  const real = realFolder(dir) ?? dir;
  const stays = !isInside(dataDir, real);
  log.warn(
    { dir },
    stays
      ? `${dir} is still mounted by a daemon that died: that stays until the new mount is ready`
      : `${dir} was still mounted by a daemon that died: unmounting it`,
  );
  const keep = stays ? 1 : 0;
  while (isDeadMount(dir) && fuseMountsAt(real).length > keep) unmount(dir, { detach: true });
  if (!isDeadMount(dir)) refuseUsed(dir, mountAt(real));
  return real;
}

function refuseUsed(dir: string, mounted: MountEntry | undefined): void {
  if (!mounted?.fsType.startsWith('fuse')) return;
  throw new LiteFsError('MOUNT_POINT', `${dir} is in use: ${mounted.source} is mounted there`, {
    hint: `Stop what mounted it, or run: umount ${dir}`,
  });
}

function checkEmpty(dir: string, bare: number, allowed: string): void {
  const names = fs.readdirSync(`/proc/self/fd/${bare}`);
  const inTheWay = names.filter((name) => name !== allowed);
  if (inTheWay.length === 0) return;
  const first = isImmutable(bare) ? `Run: chattr -i ${dir}, and move` : 'Move';
  throw new LiteFsError(
    'MOUNT_POINT',
    `the mount point ${dir} is not empty: it has ${inTheWay.slice(0, 3).join(', ')}`,
    {
      hint: `${first} these files away. Once it is mounted, databases go in by: litefs-lite adopt FILE`,
    },
  );
}

/** Guards the bare folder; says so the first time, and when it cannot be. `dataDir` is there. Throws SystemError. */
export function guardMountPoint(real: string, dataDir: string, log: Logger): void {
  const guarding = guardBareFolder(real, dataDir);
  if (guarding.kind === 'changed') {
    log.info(
      { dir: real },
      `the folder ${real} is immutable from now on: while it is not mounted, nobody writes there. To remove it: litefs-lite mount-point unguard ${real}`,
    );
  }
  if (guarding.kind === 'cannot') {
    log.info(
      { dir: real },
      `the folder ${real} cannot be made immutable (${guarding.reason}): what starts while it is not mounted may write below the mount. ${guarding.hint} Or have applications start after this node`,
    );
  }
}

/**
 * Makes the mount point when it is absent, and data.dir when it lies there, and guards it before a node has ever run, or while one
 * runs. What a start would refuse is not guarded.
 */
export function guardAhead(dir: string, dataDir: string): Guarding {
  try {
    if (realFolder(dir) === undefined) makeFolder(dir);
    const real = realFolder(dir) ?? dir;
    const bare = openBareFolder(real);
    if (bare === undefined) return { kind: 'cannot tell' };
    try {
      checkEmpty(dir, bare, path.relative(real, dataDir).split(path.sep)[0]);
    } finally {
      fs.closeSync(bare);
    }
    if (fuseMountsAt(real).length === 0 && isInside(dataDir, real)) {
      makeWay(real, dataDir);
      fs.mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    }
    return guardBareFolder(real, dataDir);
  } catch (error) {
    const hint = error instanceof LiteFsError ? (error.hint ?? '') : 'Run as root.';
    return { kind: 'cannot', reason: errorText(error), hint };
  }
}

function isInside(inner: string, outer: string): boolean {
  return path.resolve(inner).startsWith(`${path.resolve(outer)}${path.sep}`);
}
