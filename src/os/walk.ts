/**
 * Opens the directory at a path that an administrator has named, one component at a time. A link on the way is followed
 * only when root or we ourselves have put it there and no other user can change it, as /var/run or /home often are.
 * A link of another user leads where that user likes, and may lead elsewhere a moment later.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import { O_PATH, openBeneath } from './beneath.ts';
import { type Folder, folderOf, isOurs, targetOf } from './folder.ts';
import { checked, errno } from './libc.ts';

const LINKS_MAX = 40;
const S_ISVTX = 0o1000;

/** A directory on the way, with all above it. */
interface Step {
  readonly fd: number;
  readonly name: string;
  readonly stat: fs.Stats;
}

export interface Opened {
  /** Its path has no links. */
  readonly folder: Folder;
  /** The outermost directory, it or one above it, in which another user can put other things in the place of what is ours. */
  readonly changeable: string | undefined;
}

/**
 * Throws USAGE when there is no such directory, WRONG_STATE when a link of another user is on the way.
 * @param given absolute
 */
export function openFolder(given: string): Opened {
  const way: Step[] = [root()];
  try {
    walk(way, given);
    const steps = way.map(({ name }) => name);
    const at = (count: number) => `/${steps.slice(1, count).join('/')}`;
    const open = way.findIndex(({ stat }) => !keepsNames(stat));
    const last = way.at(-1) as Step;
    return {
      folder: folderOf(last.fd, at(steps.length)),
      changeable: open < 0 ? undefined : at(open + 1),
    };
  } catch (error) {
    if (error instanceof LiteFsError) throw error;
    throw new LiteFsError('USAGE', `cannot find ${given}: ${errorText(error)}`, { cause: error });
  } finally {
    for (const { fd } of way) fs.closeSync(fd);
  }
}

function walk(way: Step[], given: string): void {
  const left = parts(given);
  let links = 0;
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === '..') {
      const last = way.length > 1 ? way.pop() : undefined;
      if (last) fs.closeSync(last.fd);
      continue;
    }
    const parent = way.at(-1) as Step;
    const bytes = Buffer.from(name).toString('latin1');
    const fd = checked('openat2', openBeneath(parent.fd, bytes, O_PATH), given);
    const stat = fs.fstatSync(fd);
    if (!stat.isSymbolicLink()) {
      way.push({ fd, name, stat });
      continue;
    }
    const target = targetOf({ fd });
    fs.closeSync(fd);
    const link = `/${[...way.slice(1).map((step) => step.name), name].join('/')}`;
    if (!isTrusted(parent.stat, stat)) throw foreign(link, stat.uid, target, left);
    if (++links > LINKS_MAX) checked('openat2', -errno.ELOOP, given);
    if (path.isAbsolute(target)) for (const { fd: old } of way.splice(1)) fs.closeSync(old);
    left.unshift(...parts(target));
  }
}

function root(): Step {
  const fd = fs.openSync('/', fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  return { fd, name: '', stat: fs.fstatSync(fd) };
}

function parts(text: string): string[] {
  return text.split('/').filter((part) => part !== '' && part !== '.');
}

/** Whether what lies in a directory stays under its name: also in /tmp, where each may remove only what is theirs. */
function keepsNames(folder: fs.Stats): boolean {
  return isOurs(folder) || (isOwn(folder) && (folder.mode & S_ISVTX) !== 0);
}

function isTrusted(folder: fs.Stats, link: fs.Stats): boolean {
  return isOurs(folder) || (keepsNames(folder) && isOwn(link));
}

function isOwn({ uid }: fs.Stats): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

function foreign(link: string, uid: number, target: string, rest: readonly string[]): LiteFsError {
  const real = path.resolve(path.dirname(link), target, ...rest);
  return new LiteFsError(
    'WRONG_STATE',
    `${link} is a link to ${target}, and others than root can let it lead elsewhere`,
    {
      hint: `It belongs to user ${uid}. If it is meant so, name the path that it leads to: ${real}/…`,
    },
  );
}
