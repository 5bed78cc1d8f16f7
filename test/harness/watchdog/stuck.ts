/** What the processes of a round that does not end are doing, and their end. All of it by /proc, which waits for nobody. */
import fs from 'node:fs';
import path from 'node:path';
import { parseMountInfo } from '../../../src/os/mounts.ts';

/** Frames of a kernel stack that are shown. */
const FRAMES_MAX = 5;
const COMMAND_CHARS_MAX = 100;

/** All that a process has started, and what those have, in no order. */
export function descendantsOf(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of fs.readdirSync('/proc')) {
    if (/^\d+$/.test(name)) parents.set(Number(name), parentOf(Number(name)));
  }
  const isBelow = (one: number): boolean => {
    for (let at = parents.get(one); at !== undefined && at > 0; at = parents.get(at)) {
      if (at === pid) return true;
    }
    return false;
  };
  return [...parents.keys()].filter(isBelow);
}

/** A line for the process, and one for each of its threads: name, state, and where in the kernel it is as far as we may know. */
export function whereIs(pid: number): string[] {
  const command = textOf(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
  const threads = namesIn(`/proc/${pid}/task`).map((thread) => {
    const at = `/proc/${pid}/task/${thread}`;
    const stack = textOf(`${at}/stack`)
      .split('\n')
      .map((line) => /\]\s+([^+\s]+)/.exec(line)?.[1])
      .filter((frame) => frame !== undefined)
      .slice(0, FRAMES_MAX);
    const where = stack.length > 0 ? stack.join(' < ') : textOf(`${at}/wchan`);
    return `  ${textOf(`${at}/comm`).trim()} ${stateIn(`${at}/stat`)} ${where}`;
  });
  // What tells a node from another stands at the end.
  const shown =
    command.length > COMMAND_CHARS_MAX ? `…${command.slice(-COMMAND_CHARS_MAX)}` : command;
  return [`${pid} ${shown}`, ...counted(threads)];
}

/** Equal lines once, with how many there were. */
function counted(lines: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1);
  return [...counts].map(([line, count]) => (count === 1 ? line : `${line} (${count} times)`));
}

/** Ends them, and every FUSE connection of a mount below `dir`: who waits for one gets an error, also in the kernel. */
export function endAll(pids: readonly number[], dir: string | undefined): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
  if (dir !== undefined) for (const number of connectionsBelow(dir)) abort(number);
}

function connectionsBelow(dir: string): number[] {
  const mounts = parseMountInfo(textOf('/proc/self/mountinfo'));
  return mounts
    .filter(({ point, fsType }) => point.startsWith(`${dir}/`) && /^fuse(\.|$)/.test(fsType))
    .map(({ dev }) => minorOf(dev));
}

/** Of a number as stat(2) has it: anonymous devices have no major one, and this is that of their connection. */
function minorOf(dev: number): number {
  return (dev & 0xff) | ((dev >>> 12) & 0xfff00);
}

function abort(connection: number): void {
  try {
    fs.writeFileSync(path.join('/sys/fs/fuse/connections', `${connection}`, 'abort'), '1');
  } catch {
    // It has gone with its process, or this machine does not show connections.
  }
}

function parentOf(pid: number): number {
  const stat = textOf(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0);
}

function stateIn(file: string): string {
  const stat = textOf(file);
  return stat.charAt(stat.lastIndexOf(')') + 2);
}

function textOf(file: string): string {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

function namesIn(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch {
    return [];
  }
}
