/** The folder that a check of power cuts has to itself, and the end of all that is in it. */
import fs from 'node:fs';
import path from 'node:path';
import { parseMountInfo, unmount } from '../../../src/os/mounts.ts';
import { memoryFolder } from '../memory.ts';
import { removeNodes } from '../mount-points.ts';
import { run } from './disks.ts';

/** Part of the command of what serves disks, and the type of its mount. */
const SERVER = 'block-server.ts';
const BLOCKS_TYPE = 'fuse.litefs-lite-blocks';

const open = new Set<string>();

/** A new folder, in memory where there is room: images are written often. It is swept when the process ends, at the latest. */
export function scratchFolder(): string {
  const dir = fs.mkdtempSync(path.join(memoryFolder(), 'litefs-lite-power-'));
  if (open.size === 0) process.on('exit', sweepAll);
  open.add(dir);
  return dir;
}

/**
 * Ends the processes that were started with a path in the folder, takes away its mounts and loop devices, and removes it.
 * What serves the disks ends last: whoever still uses them would wait for it.
 */
export function sweep(dir: string): void {
  open.delete(dir);
  const commands = processesOf(dir);
  const loops = loopsOf(dir);
  end(commands.filter(({ command }) => !command.includes(SERVER)));
  const mounts = parseMountInfo(fs.readFileSync('/proc/self/mountinfo', 'latin1'))
    .filter(({ point }) => point.startsWith(`${dir}/`))
    .reverse();
  for (const { point, fsType } of mounts) {
    if (fsType !== BLOCKS_TYPE) unmount(point, { detach: true });
  }
  for (const loop of loops) run('losetup', '--detach', loop);
  for (const { point } of mounts) unmount(point, { detach: true });
  end(commands);
  removeNodes(dir);
}

function loopsOf(dir: string): string[] {
  const list = run('losetup', '--list', '--noheadings', '--output', 'NAME,BACK-FILE');
  return list
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, file]) => file?.startsWith(`${dir}/`))
    .map(([device]) => device);
}

function end(processes: readonly { readonly pid: number }[]): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
}

export function sweepAll(): void {
  for (const dir of open) sweep(dir);
}

function processesOf(dir: string): { readonly pid: number; readonly command: string }[] {
  return fs
    .readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .map((pid) => ({ pid, command: commandOf(pid) }))
    .filter(({ command }) => command.includes(dir));
}

function commandOf(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    // It has just ended.
    return '';
  }
}
