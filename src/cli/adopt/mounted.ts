/** A database in the mount of a running node, as adopt and release see it. */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, isOutsideFault, LiteFsError } from '../../errors.ts';
import type { NodeReport } from '../../http/info.ts';
import { type Position, parsePosition } from '../../ltx/position.ts';
import { POSITION_SUFFIX } from '../../mount/names.ts';
import type { Folder } from '../../os/folder.ts';
import { mountAt } from '../../os/mounts.ts';
import { type ProcessUse, processesWithFileOpen } from '../../os/processes.ts';
import { openFolder } from '../../os/walk.ts';
import { SIDE_FILES } from './names.ts';

/** Opens the root of the node's mount. Throws WRONG_STATE when it is not on this machine. */
export function openMount(node: NodeReport): Folder {
  const mount = mountAt(node.path);
  if (mount?.source === 'litefs-lite' && isAdministrators(mount.options)) {
    const { folder } = openFolder(node.path);
    if (folder.stat().dev === mount.dev) return folder;
    folder.close();
  }
  throw new LiteFsError('WRONG_STATE', `${node.path} of ${node.hostname} is not mounted here`, {
    hint: `Run it on ${node.hostname} itself.`,
  });
}

/** Each user may make FUSE mounts, under any name. */
function isAdministrators(options: readonly string[]): boolean {
  return options.includes('user_id=0') || options.includes(`user_id=${process.geteuid?.()}`);
}

/** The directory at a path below the root, its components; undefined when there is none. To be closed unless it is the root. */
export function folderIn(root: Folder, parts: readonly string[]): Folder | undefined {
  let at = root;
  for (const part of parts) {
    let next: Folder | undefined;
    try {
      next = inside(at, part);
    } finally {
      if (at !== root) at.close();
    }
    if (!next) return undefined;
    at = next;
  }
  return at;
}

/** Calls back with it while it is open. */
export function withFolderIn<T>(
  root: Folder,
  parts: readonly string[],
  use: (folder: Folder | undefined) => T,
): T {
  const folder = folderIn(root, parts);
  try {
    return use(folder);
  } finally {
    if (folder !== root) folder?.close();
  }
}

/** A directory; undefined when there is none. Throws WRONG_STATE when the name leads elsewhere. */
export function inside(folder: Folder, name: string): Folder | undefined {
  try {
    return folder.folder(name);
  } catch (error) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${folder.at(name)} is no directory: ${errorText(error)}`,
      {
        hint: 'Links are not followed there.',
        cause: error,
      },
    );
  }
}

/** Who has the database or what belongs to it open, the daemon and we left out. */
export function usersOf(folder: Folder, name: string, except: readonly number[]): ProcessUse[] {
  const users = ['', ...SIDE_FILES].flatMap((suffix) => {
    const stat = folder.look(name + suffix);
    return stat?.isFile() ? processesWithFileOpen(stat.dev, stat.ino) : [];
  });
  return users.filter(({ pid }) => !except.includes(pid));
}

/** Throws WRONG_STATE that names who uses the file, when somebody does. */
export function refuseUsers(file: string, users: readonly ProcessUse[]): void {
  if (users.length === 0) return;
  const who = [...new Set(users.map(({ command, pid }) => `${command} (${pid})`))].join(', ');
  throw new LiteFsError('WRONG_STATE', `${file} is in use by ${who}`, {
    hint: 'Stop it first, and start it again afterwards: it goes on with the same path.',
  });
}

/** That covers every commit until now; undefined when it is not replicated. */
export function positionOf(folder: Folder, name: string): Position | undefined {
  const fd = folder.openFile(name + POSITION_SUFFIX);
  if (fd === undefined) return undefined;
  try {
    return parsePosition(fs.readFileSync(fd, 'latin1'));
  } finally {
    fs.closeSync(fd);
  }
}

/** Removes a database and what belongs to it. */
export function removeDatabase(folder: Folder, name: string): void {
  for (const suffix of ['', ...SIDE_FILES]) folder.remove(name + suffix);
}

/** The name of a database in the mount; undefined when the path leads elsewhere. */
export function nameInMount(node: NodeReport, target: string): string | undefined {
  if (!path.isAbsolute(target)) return undefined;
  const name = path.relative(node.path, target);
  return name === '' || name.startsWith('..') || path.isAbsolute(name) ? undefined : name;
}

const CHANGED_HINT = 'Stop its application, and what else its user runs there, and run this again.';

/** What others do to names while we are at work, in the terms of system calls. */
const NAMES_CHANGED = new Set([
  'EEXIST',
  'ENOENT',
  'ENOTDIR',
  'EISDIR',
  'ELOOP',
  'ENOTEMPTY',
  'ESTALE',
]);

/** A name is not what it was a moment ago. */
export function changed(file: string): LiteFsError {
  return new LiteFsError('WRONG_STATE', `another program has changed what is called ${file}`, {
    hint: CHANGED_HINT,
  });
}

/** A failure of a system call as one with a code; anything else as it is. */
export function asFault(error: unknown, what: string): unknown {
  if (error instanceof LiteFsError || !isOutsideFault(error)) return error;
  const isChange = NAMES_CHANGED.has((error as NodeJS.ErrnoException).code ?? '');
  return new LiteFsError(isChange ? 'WRONG_STATE' : 'DISK', `${what}: ${errorText(error)}`, {
    hint: isChange
      ? CHANGED_HINT
      : 'Is a disk full, or the node gone? What is not finished by now is by the next run.',
    cause: error,
  });
}
