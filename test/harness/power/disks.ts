/**
 * ext4 file systems on disks that remember (block-server.ts), and on images that a power cut may have left. All of it
 * takes root, loop devices and mkfs.ext4. What is still there when a check fails is swept with its folder (scratch.ts).
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { mountAt, unmount } from '../../../src/os/mounts.ts';
import { type BlockRecord, readBlockLog } from './block-log.ts';

const SERVER = path.resolve(import.meta.dirname, 'block-server.ts');
export const DISK_BYTES = 64 << 20;
const JOURNAL_MIB = 4;

/** Whether this machine has what that takes. */
export function canMakeDisks(): boolean {
  const hasMkfs = ['/sbin', '/usr/sbin'].some((dir) => fs.existsSync(path.join(dir, 'mkfs.ext4')));
  return process.getuid?.() === 0 && hasMkfs && fs.existsSync('/dev/loop-control');
}

/** A file system on an image or a block device, mounted. */
export class MountedDisk {
  readonly dir: string;
  readonly #loop: string | undefined;

  private constructor(dir: string, loop: string | undefined) {
    this.dir = dir;
    this.#loop = loop;
  }

  /** `options`: of mount(8), of ext4. */
  static mount(image: string, dir: string, options: string): MountedDisk {
    fs.mkdirSync(dir, { recursive: true });
    const loop = run('losetup', '--find', '--show', image).trim();
    try {
      run('mount', '-t', 'ext4', '-o', options, loop, dir);
    } catch (error) {
      run('losetup', '--detach', loop);
      throw error;
    }
    return new MountedDisk(dir, loop);
  }

  unmount(): void {
    if (mountAt(this.dir)) unmount(this.dir, { detach: !unmount(this.dir) });
    if (this.#loop !== undefined) run('losetup', '--detach', this.#loop);
  }
}

/** Some disks with one log, each with an ext4, mounted. */
export class LoggedDisks {
  readonly #dir: string;
  readonly #server: ChildProcess;
  readonly #mounted: MountedDisk[];
  /** The file that notes are written to. */
  readonly notes: string;
  /** See block-log.ts. It outlives the disks. */
  readonly log: string;

  private constructor(dir: string, server: ChildProcess, mounted: MountedDisk[]) {
    this.#dir = dir;
    this.#server = server;
    this.#mounted = mounted;
    this.notes = path.join(dir, 'blocks', 'notes');
    this.log = path.join(dir, 'log');
  }

  /**
   * `dir`: a folder for all of it. Disk `n` is mounted on `points[n]`, and begins as the file `begin[n]`; without that it
   * is empty.
   */
  static async start(
    dir: string,
    points: readonly string[],
    options: string,
    begin?: readonly string[],
  ): Promise<LoggedDisks> {
    fs.mkdirSync(path.join(dir, 'blocks'), { recursive: true });
    const empty = path.join(dir, 'empty.img');
    if (!begin) makeEmptyDisk(empty);
    const images = begin ?? points.map(() => empty);
    const args = [path.join(dir, 'blocks'), path.join(dir, 'log'), ...images];
    const server = spawn(process.execPath, [SERVER, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const mounted: MountedDisk[] = [];
    const disks = new LoggedDisks(dir, server, mounted);
    try {
      const ended = once(server, 'exit').then(() => {
        throw new Error('the block server has ended');
      });
      await Promise.race([once(server.stdout as NodeJS.ReadableStream, 'data'), ended]);
      ended.catch(() => {});
      for (const [n, point] of points.entries()) {
        mounted.push(MountedDisk.mount(path.join(dir, 'blocks', `${n}.img`), point, options));
      }
      return disks;
    } catch (error) {
      disks.close();
      throw error;
    }
  }

  note(told: object): void {
    fs.writeFileSync(this.notes, JSON.stringify(told));
  }

  /** All that happened so far. */
  records(): BlockRecord[] {
    return readBlockLog(this.log);
  }

  /** Takes away all but the log. */
  close(): void {
    for (const disk of this.#mounted.splice(0)) disk.unmount();
    unmount(path.join(this.#dir, 'blocks'), { detach: true });
    this.#server.kill('SIGKILL');
  }
}

function makeEmptyDisk(file: string): void {
  fs.writeFileSync(file, '');
  fs.truncateSync(file, DISK_BYTES);
  run('mkfs.ext4', '-q', '-J', `size=${JOURNAL_MIB}`, file);
}

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
