/** `litefs-lite mount-point`: the folder below the mount, made immutable or given back. */

import path from 'node:path';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import {
  type Guarding,
  guardedFolders,
  realFolder,
  unguardBareFolder,
} from '../daemon/bare-folder.ts';
import { guardAhead } from '../daemon/mount-point.ts';
import { LiteFsError } from '../errors.ts';
import { printLine } from './print.ts';

interface Flags {
  readonly config?: string;
}

/** Makes the folder of the config when it is absent, and guards it. Throws MOUNT_POINT. */
export function guardMountPoint(flags: Flags): number {
  const { fuse, data } = configOf(flags);
  const guarding = guardAhead(fuse.dir, data.dir);
  const done = 'is immutable: while it is not mounted, nobody writes there';
  return say(guarding, fuse.dir, done);
}

/** Lifts the guard of a folder, by default that of the config; the next start of the node sets it again. Throws MOUNT_POINT. */
export function unguardMountPoint(dir: string | undefined, flags: Flags): number {
  const folder = dir === undefined ? configOf(flags).fuse.dir : path.resolve(dir);
  const real = realFolder(folder);
  if (real !== undefined) {
    return say(unguardBareFolder(real), folder, 'is not immutable, until a node starts there');
  }
  printLine(`${folder} is not there`);
  return 0;
}

/** Prints what is guarded, a folder a line: the package needs it when the program is gone. */
export function printMountPoint(flags: Flags): number {
  const { fuse, data } = configOf(flags);
  const folders = guardedFolders(realFolder(fuse.dir) ?? fuse.dir, data.dir);
  for (const folder of folders) printLine(folder);
  return 0;
}

function say(guarding: Guarding, dir: string, done: string): number {
  switch (guarding.kind) {
    case 'cannot':
      throw new LiteFsError('MOUNT_POINT', `${dir} stays as it is: ${guarding.reason}`, {
        hint: guarding.hint,
      });
    case 'cannot tell':
      throw new LiteFsError('MOUNT_POINT', `${dir} is hidden by what is mounted there`, {
        hint: 'Unmount that first.',
      });
    default:
      printLine(`the folder ${dir} ${done}`);
      return 0;
  }
}

function configOf(flags: Flags): Config {
  const from = { env: process.env, cwd: process.cwd(), expandEnv: true };
  return loadConfig(flags.config, from).config;
}
