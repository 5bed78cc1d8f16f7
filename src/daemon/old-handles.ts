/**
 * After a crash an app may still hold files of the dead mount, passed through by the kernel: it goes on writing
 * to them under locks that nobody else sees. Two lock domains on one file would destroy it, so
 * we do not start before it has let go.
 */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { scanTree } from '../engine/files/tree-scan.ts';
import { LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { isOpenElsewhere } from '../os/locks.ts';
import {
  allHolders,
  type ProcessUse,
  processesOnLostMount,
  processesWithFileOpen,
  usersText,
} from '../os/processes.ts';
import { nameText } from '../store/layout.ts';
import { TreeDoor } from '../store/tree-door.ts';

const RETRY_MS = 100;
const BY_PROC_ALONE =
  'whether files are open from before is told by the processes that can be seen alone: leases, which tell of all, need ' +
  "CAP_LEASE for other users' files, and a file system that has them";

interface HeldFile {
  readonly name: string;
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
}

/**
 * Waits at most `waitMs` for all databases below the tree `dir` to be let go of. Throws OLD_HANDLES.
 * @param mountDir where the dead mount is, or was
 */
export async function waitForOldHandles(
  dir: string,
  mountDir: string,
  waitMs: number,
  log: Logger,
): Promise<void> {
  const tree = new TreeDoor(dir);
  try {
    await waitUntilLetGo(tree, mountDir, waitMs, log);
  } finally {
    tree.close();
  }
}

async function waitUntilLetGo(
  tree: TreeDoor,
  mountDir: string,
  waitMs: number,
  log: Logger,
): Promise<void> {
  const startedMs = performance.now();
  let told = false;
  let toldUnknown = false;
  for (;;) {
    const { held, unknown } = heldFiles(tree);
    if (unknown.length > 0) {
      if (!toldUnknown) log.info(BY_PROC_ALONE);
      toldUnknown = true;
      held.push(...seenOpen(unknown, mountDir));
    }
    if (held.length === 0) return;
    const who = () => {
      const all = allHolders();
      const users = held.flatMap((file) => shownHolders(file, holdersOf(file, mountDir, all)));
      return usersText(users, tree.dir);
    };
    if (performance.now() - startedMs >= waitMs) {
      throw new LiteFsError('OLD_HANDLES', `still open from before the daemon died: ${who()}`, {
        hint: 'Restart these apps, then start litefs-lite again.',
      });
    }
    if (!told) log.warn(`waiting for files that are open from before the daemon died: ${who()}`);
    told = true;
    await sleep(RETRY_MS);
  }
}

/** Those that somebody has open, and those that no lease tells it of. */
function heldFiles(tree: TreeDoor): { held: HeldFile[]; unknown: HeldFile[] } {
  const files = { held: [] as HeldFile[], unknown: [] as HeldFile[] };
  for (const database of scanTree(tree)) {
    for (const suffix of ['', '-wal', '-shm', '-journal']) {
      const name = database + suffix;
      // What is no file was never passed through.
      const fd = tree.hasFile(name) ? tree.open(name) : undefined;
      if (fd === undefined) continue;
      try {
        const isOpen = isOpenElsewhere(fd);
        if (isOpen === false) continue;
        const { dev, ino } = fs.fstatSync(fd);
        const file = { name, path: `${tree.dir}/${nameText(name)}`, dev, ino };
        (isOpen === 'unknown' ? files.unknown : files.held).push(file);
      } finally {
        fs.closeSync(fd);
      }
    }
  }
  return files;
}

/** Without leases /proc is the witness: it knows each process that this one may look into. */
function seenOpen(files: readonly HeldFile[], mountDir: string): HeldFile[] {
  const all = allHolders();
  return files.filter((file) => holdersOf(file, mountDir, all).length > 0);
}

/** Who has it open below the dead mount, or through it. */
function holdersOf(
  { name, dev, ino }: HeldFile,
  mountDir: string,
  among: ReturnType<typeof allHolders>,
): ProcessUse[] {
  const direct = processesWithFileOpen(dev, ino, among).filter(({ pid }) => pid !== process.pid);
  return direct.length > 0 ? direct : processesOnLostMount(mountDir, nameText(name), among);
}

function shownHolders({ path: file }: HeldFile, users: readonly ProcessUse[]): ProcessUse[] {
  if (users.length === 0) return [{ pid: 0, command: 'an unknown process', path: file }];
  return users.map((user) => ({ ...user, path: file }));
}
