/**
 * The bare mount point: the folder that is there while nothing is mounted on it. An application that came to it then
 * would make an empty database below the mount, and what it writes there would be lost to it at the next start. So it is
 * immutable: nobody, root included, makes anything in it.
 *
 * data.dir may lie in it, or deeper. Then the folders on the way to it are guarded as well, and data.dir is not: being
 * immutable, the others only keep names from coming and going.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText } from '../errors.ts';
import { DIRECTORY, openBeneath } from '../os/beneath.ts';
import { cannotBeImmutable, isImmutable, setImmutable } from '../os/immutable.ts';
import { checked, close, errno, systemError } from '../os/libc.ts';
import { fuseMountsAt, mountsAt, openBelowMounts } from '../os/mounts.ts';

const READ_DIRECTORY = fs.constants.O_RDONLY | fs.constants.O_DIRECTORY;

/** What became of a wish to guard a folder, or to lift the guard. */
export type Guarding =
  | { readonly kind: 'changed' | 'was so' }
  | { readonly kind: 'cannot'; readonly reason: string; readonly hint: string }
  /** Something that is none of our mounts hides the folder. */
  | { readonly kind: 'cannot tell' };

/** Where a folder is, without symbolic links; also when a dead mount is on it. Undefined when there is none. */
export function realFolder(dir: string): string | undefined {
  let fd: number;
  try {
    fd = fs.openSync(dir, DIRECTORY);
  } catch {
    return undefined;
  }
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * A descriptor of the folder below all of our mounts, live or dead; to be closed. Undefined when another's mount hides it.
 * @param real its path, without symbolic links
 * @throws SystemError when it is absent, no directory, or may not be opened
 */
export function openBareFolder(real: string): number | undefined {
  const count = fuseMountsAt(real).length;
  if (count === 0) return fs.openSync(real, READ_DIRECTORY);
  if (count < mountsAt(real).length) return undefined;
  const above = openBelowMounts(path.dirname(real));
  try {
    const fd = openBeneath(above, byteName(path.basename(real)), READ_DIRECTORY);
    return checked('open', fd, real);
  } finally {
    fs.closeSync(above);
  }
}

/** Makes the folder immutable, and those on the way to data.dir, which must be there when it lies in the folder. */
export function guardBareFolder(real: string, dataDir: string): Guarding {
  return withBareFolder(real, (bare) => {
    let result = outcome(setImmutable(bare, true), real);
    for (const name of wayTo(dataDir, real)) {
      if (result.kind === 'cannot') return result;
      const fd = openBeneath(bare, byteName(name), READ_DIRECTORY);
      // A link leads out of the folder, or the way was left: what is there is none of the bare folder.
      if (fd < 0) return result;
      const next = outcome(setImmutable(fd, true), `${real}/${name}`);
      close(fd);
      if (next.kind !== 'was so') result = next;
    }
    return result;
  });
}

/** Whether nobody can write in the folder while it is not mounted; undefined when that cannot be told. */
export function isGuarded(real: string): boolean | undefined {
  let bare: number | undefined;
  try {
    bare = openBareFolder(real);
  } catch {
    return undefined;
  }
  if (bare === undefined) return undefined;
  try {
    return isImmutable(bare) ?? false;
  } finally {
    fs.closeSync(bare);
  }
}

/** All that guardBareFolder() makes immutable, the folder itself first. */
export function guardedFolders(real: string, dataDir: string): string[] {
  return [real, ...wayTo(dataDir, real).map((name) => `${real}/${name}`)];
}

/** Lifts the guard of the folder, and of the guarded folders in it. */
export function unguardBareFolder(real: string): Guarding {
  return withBareFolder(real, (bare) => lift(bare, real));
}

function lift(fd: number, shown: string): Guarding {
  let result = outcome(setImmutable(fd, false), shown);
  for (const entry of fs.readdirSync(`/proc/self/fd/${fd}`, { withFileTypes: true })) {
    if (result.kind === 'cannot') return result;
    if (!entry.isDirectory()) continue;
    const inner = openBeneath(fd, byteName(entry.name), READ_DIRECTORY);
    // Gone, or put there by somebody else: what is left is not ours.
    if (inner < 0) continue;
    if (isImmutable(inner)) {
      const next = lift(inner, `${shown}/${entry.name}`);
      if (next.kind !== 'was so') result = next;
    }
    close(inner);
  }
  return result;
}

function withBareFolder(real: string, body: (bare: number) => Guarding): Guarding {
  let bare: number | undefined;
  try {
    bare = openBareFolder(real);
  } catch (error) {
    return { kind: 'cannot', reason: errorText(error), hint: 'Is it there, and are you root?' };
  }
  if (bare === undefined) return { kind: 'cannot tell' };
  try {
    return body(bare);
  } finally {
    fs.closeSync(bare);
  }
}

/** The folders below `real` that lead to data.dir: `a`, `a/b`; none when it lies elsewhere. */
export function wayTo(dataDir: string, real: string): string[] {
  const inside = path.relative(real, dataDir);
  const parts = inside.split(path.sep);
  if (parts[0] === '..' || path.isAbsolute(inside)) return [];
  return parts.slice(0, -1).map((_, i) => parts.slice(0, i + 1).join('/'));
}

/** As openBeneath wants it: one char a byte. */
function byteName(name: string): string {
  return Buffer.from(name).toString('latin1');
}

function outcome(result: number, shown: string): Guarding {
  if (result >= 0) return { kind: result === 1 ? 'changed' : 'was so' };
  if (cannotBeImmutable(result)) {
    const reason = 'its file system has no such attribute';
    return { kind: 'cannot', reason, hint: 'Have it on ext4, xfs or btrfs.' };
  }
  if (result === -errno.EPERM || result === -errno.EACCES) {
    const hint = 'Run as root; in a container, add --cap-add LINUX_IMMUTABLE.';
    return { kind: 'cannot', reason: 'CAP_LINUX_IMMUTABLE is lacking', hint };
  }
  const reason = errorText(systemError('ioctl', -result, shown));
  return { kind: 'cannot', reason, hint: 'Is its file system writable?' };
}
