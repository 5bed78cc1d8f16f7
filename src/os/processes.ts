/**
 * Who uses a file or a mount, by /proc. Nothing here asks a FUSE server anything: links in
 * /proc/PID/fd are read, and what they lead to is identified by statx(AT_STATX_DONT_SYNC), which is
 * answered from the kernel's memory.
 *
 * A line of /proc/PID/maps: `start-end perms offset major:minor inode path`, numbers in hex but the
 * inode.
 */
import { existsSync } from 'node:fs';
import { relative } from 'node:path';
import { AT_FDCWD, AT_STATX_DONT_SYNC, cString, statx } from './libc.ts';
import { makeDev } from './mounts.ts';
import { commandOf, linkOf, namesIn, processIds, textOf } from './proc.ts';

const STATX_INO = 0x100;

export interface ProcessUse {
  readonly pid: number;
  /** Name of the program, at most 15 chars. */
  readonly command: string;
  /** What it uses. */
  readonly path: string;
}

/** One thing that a process holds on to. */
interface Held {
  readonly path: string;
  readonly dev: number | undefined;
  readonly ino: number;
}

const identity = Buffer.alloc(256);

/** What a link in /proc leads to; undefined when the process is gone or hides it. */
function followed(link: string): Held | undefined {
  const path = linkOf(link);
  // Pipes, sockets and the like have no path.
  if (!path.startsWith('/')) return undefined;
  if (statx(AT_FDCWD, cString(link), AT_STATX_DONT_SYNC, STATX_INO, identity) < 0) {
    // A mount that is not ours to look into still tells its device.
    if (statx(AT_FDCWD, cString(link), AT_STATX_DONT_SYNC, 0, identity) < 0) {
      return { path, dev: undefined, ino: 0 };
    }
  }
  return {
    path,
    dev: makeDev(identity.readUInt32LE(136), identity.readUInt32LE(140)),
    ino: Number(identity.readBigUInt64LE(32)),
  };
}

function* mapped(pid: string): Generator<Held> {
  const pattern = /^\S+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+) +(\/.*)$/gm;
  for (const match of textOf(`/proc/${pid}/maps`).matchAll(pattern)) {
    const dev = makeDev(Number.parseInt(match[1], 16), Number.parseInt(match[2], 16));
    yield { dev, ino: Number(match[3]), path: match[4] };
  }
}

function* heldBy(pid: string): Generator<Held> {
  for (const name of ['cwd', 'root']) {
    const held = followed(`/proc/${pid}/${name}`);
    if (held) yield held;
  }
  for (const fd of namesIn(`/proc/${pid}/fd`)) {
    const held = followed(`/proc/${pid}/fd/${fd}`);
    if (held) yield held;
  }
  yield* mapped(pid);
}

/** What a process holds. */
interface Holder {
  readonly pid: string;
  readonly held: Iterable<Held>;
}

function* holders(): Generator<Holder> {
  for (const pid of processIds()) yield { pid, held: heldBy(pid) };
}

/** What all processes hold at this moment, to be asked of many files. */
export function allHolders(): readonly Holder[] {
  return [...holders()].map(({ pid, held }) => ({ pid, held: [...held] }));
}

function scan(matches: (held: Held) => boolean, among: Iterable<Holder> = holders()): ProcessUse[] {
  const found: ProcessUse[] = [];
  for (const { pid, held } of among) {
    const paths = new Set<string>();
    for (const each of held) if (matches(each)) paths.add(each.path);
    if (paths.size === 0) continue;
    const command = commandOf(pid);
    for (const path of paths) found.push({ pid: Number(pid), command, path });
  }
  return found;
}

/**
 * Processes with something open, mapped or as a working directory in a tree.
 * @param where the path of a directory, or the device number (st_dev) of a mount, which also finds
 *   users of one that was detached
 */
export function processesUsing(where: string | number): ProcessUse[] {
  if (typeof where === 'number') return scan((held) => held.dev === where);
  const inside = where.endsWith('/') ? where : `${where}/`;
  return scan((held) => held.path === where || held.path.startsWith(inside));
}

/** Processes that have `path` open, below the dead mount at `dir`, or on one that was there and was taken out of the tree. */
export function processesOnLostMount(
  dir: string,
  path: string,
  among?: readonly Holder[],
): ProcessUse[] {
  const shown = [`${dir}/${path}`];
  // Of a mount that was taken away the kernel has no more to tell than that, as if it were the root.
  if (!existsSync(`/${path}`)) shown.push(`/${path}`);
  return scan((held) => shown.includes(held.path), among);
}

/** `sqlite3 (5913): app.db, app.db-wal; bash (812)`: each process once; one that is not known has pid 0. Paths are shown as they are below `dir`. */
export function usersText(uses: readonly ProcessUse[], dir: string): string {
  const files = Map.groupBy(uses, ({ pid, command }) =>
    pid === 0 ? command : `${command} (${pid})`,
  );
  return [...files]
    .map(([who, [...own]]) => {
      const names = own.map(({ path }) => relative(dir, path)).filter((name) => name !== '');
      return names.length === 0 ? who : `${who}: ${names.join(', ')}`;
    })
    .join('; ');
}

/** Processes that have the file open or mapped. */
export function processesWithFileOpen(
  dev: number,
  ino: number,
  among?: readonly Holder[],
): ProcessUse[] {
  return scan((held) => held.dev === dev && held.ino === ino, among);
}
