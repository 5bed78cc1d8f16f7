/** A database in the mount of a running node, as adopt and release see it. */
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../../errors.ts';
import type { NodeReport } from '../../http/info.ts';
import { POSITION_SUFFIX } from '../../mount/names.ts';
import { mountAt } from '../../os/mounts.ts';
import { type ProcessUse, processesWithFileOpen } from '../../os/processes.ts';
import { SIDE_FILES } from './names.ts';

/** Throws WRONG_STATE when the node's mount is not on this machine. */
export function requireMount(node: NodeReport): void {
  if (mountAt(node.path)?.source === 'litefs-lite') return;
  throw new LiteFsError('WRONG_STATE', `${node.path} of ${node.hostname} is not mounted here`, {
    hint: `Run it on ${node.hostname} itself.`,
  });
}

/** Who has the database or what belongs to it open, the daemon and we left out. */
export function usersOf(file: string, except: readonly number[]): ProcessUse[] {
  const users = ['', ...SIDE_FILES].flatMap((suffix) => {
    const stat = fs.lstatSync(file + suffix, { throwIfNoEntry: false });
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

/** `<txid>/<checksum>` that covers every commit until now; '' when it is not replicated. */
export function positionOf(mounted: string): string {
  try {
    return fs.readFileSync(mounted + POSITION_SUFFIX, 'latin1').trim();
  } catch {
    return '';
  }
}

/** Removes a database and what belongs to it. */
export function removeDatabase(mounted: string): void {
  for (const suffix of ['', ...SIDE_FILES]) fs.rmSync(mounted + suffix, { force: true });
}

/** The name of a database in the mount; undefined when the path leads elsewhere. */
export function nameInMount(node: NodeReport, target: string): string | undefined {
  const name = path.relative(node.path, target);
  return name === '' || name.startsWith('..') || path.isAbsolute(name) ? undefined : name;
}
