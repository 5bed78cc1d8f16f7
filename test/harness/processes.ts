/** What /proc tells of other processes. */
import fs from 'node:fs';
import path from 'node:path';

/** The processes that a process has started, and that have not been waited for. */
export function childrenOf(pid: number): number[] {
  return fs
    .readdirSync(`/proc/${pid}/task`)
    .flatMap((thread) => textOf(`/proc/${pid}/task/${thread}/children`).split(' '))
    .filter((word) => word !== '')
    .map(Number);
}

/** Whether a process has a descriptor of this file, by whatever path it has reached it. */
export function hasOpen(pid: number, file: string): boolean {
  const { dev, ino } = fs.statSync(file);
  const dir = `/proc/${pid}/fd`;
  const isIt = (held: fs.Stats) => held.dev === dev && held.ino === ino;
  try {
    return fs.readdirSync(dir).some((fd) => isIt(fs.statSync(path.join(dir, fd))));
  } catch {
    return false; // it, or the descriptor, is gone meanwhile
  }
}

/** Whether a process has a POSIX lock on a file of this inode number. */
export function hasPosixLock(pid: number, ino: number): boolean {
  const lock = new RegExp(`^\\d+: POSIX +\\S+ +\\S+ ${pid} [0-9a-f]+:[0-9a-f]+:${ino} `, 'm');
  return lock.test(fs.readFileSync('/proc/locks', 'latin1'));
}

/** The letter of /proc/PID/stat: R, S, D, T for one that is stopped, Z; '' when it is gone. */
export function stateOf(pid: number): string {
  const stat = textOf(`/proc/${pid}/stat`);
  return stat.charAt(stat.lastIndexOf(')') + 2);
}

function textOf(file: string): string {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
