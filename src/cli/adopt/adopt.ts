/**
 * Moves a database into the mount, and leaves a link where it was. At each moment its path leads to all of it:
 *
 *     app.db                 app.db.adopting-…      app.db.before-…    the mount
 *  1  the database           link                   -                  -
 *  2  the database           link                   -                  a copy, on disk
 *  3  link                   the database           -                  the database
 *  4  link                   -                      the original       the database
 *
 * Between 2 and 3 the two names change places at once. SQLite's lock on the original keeps others from writing to it
 * from before 1 until after 4. What was cut off by a crash is taken back, or finished, by the next run.
 */
import fs from 'node:fs';
import path from 'node:path';
import type Database from 'better-sqlite3';
import { errorText, LiteFsError } from '../../errors.ts';
import type { NodeReport } from '../../http/info.ts';
import { syncDirectory } from '../../store/log-files.ts';
import {
  nameInMount,
  positionOf,
  refuseUsers,
  removeDatabase,
  requireMount,
  usersOf,
} from './mounted.ts';
import { exchange, kindOf, type Names, namesOf, syncFile } from './names.ts';
import { inspect, isHeld, removeSideFiles, seize } from './original.ts';
import { makeFolders, placeFor } from './place.ts';

export interface AdoptOptions {
  readonly file: string;
  readonly node: NodeReport;
  /** Its name in the mount. */
  readonly as?: string;
  /** false: the original is removed in the end. */
  readonly keep: boolean;
  /** Called after each step. */
  readonly reached?: (step: AdoptStep) => void;
}

export const ADOPT_STEPS = [
  'seized',
  'announced',
  'reserved',
  'copied',
  'settled',
  'exchanged',
  'kept',
] as const;
export type AdoptStep = (typeof ADOPT_STEPS)[number];

export interface Adopted {
  readonly file: string;
  /** In the mount. */
  readonly mounted: string;
  readonly position: string;
  /** Where the original is; undefined when it was removed. */
  readonly original: string | undefined;
  /** An earlier run had done all but the last step. */
  readonly resumed: boolean;
}

/** All pages in one step: it is one transaction in any case. */
const ALL_PAGES = 2 ** 31 - 1;

/**
 * Throws USAGE, WRONG_STATE on a replica, when the database is in use or the name is taken, DATABASE_CORRUPT, DISK. The
 * original is where it was then.
 */
export async function adoptDatabase(options: AdoptOptions): Promise<Adopted> {
  const { node, as, keep, reached = () => {} } = options;
  if (!node.isPrimary) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${node.hostname} is a replica: nothing can be written there`,
      {
        hint: `Run it on the primary${node.primary.hostname ? `, ${node.primary.hostname}` : ''}.`,
      },
    );
  }
  requireMount(node);
  const names = namesOf(options.file);
  const { file, adopting } = names;
  const finished = settleEarlierRun(names, node, keep);
  if (finished) return finished;
  refuseWhatIsInTheWay(names, node);

  const owner = inspect(file);
  const mounted = path.join(node.path, placeFor(file, owner, node, as));
  const db = seize(file);
  reached('seized');
  let made: string[] = [];
  let reserved = false;
  let position: string;
  try {
    fs.symlinkSync(mounted, adopting);
    fs.lchownSync(adopting, owner.uid, owner.gid);
    syncDirectory(path.dirname(file));
    reached('announced');
    made = makeFolders(mounted, fs.statSync(path.dirname(file)));
    fs.closeSync(fs.openSync(mounted, 'wx', 0o600));
    reserved = true;
    reached('reserved');
    position = await copyInto(db, mounted, owner, reached);
    refuseUsers(file, usersOf(file, [process.pid]));
    exchange(file, adopting);
  } catch (error) {
    db.close();
    try {
      takeBack(names, reserved ? mounted : undefined, made);
    } catch {
      // The mount may be gone; the next run finds the announcement.
    }
    if (error instanceof LiteFsError) throw error;
    throw new LiteFsError('DISK', `cannot move ${file} to ${mounted}: ${errorText(error)}`, {
      hint: 'Is the disk of data.dir full, or the node gone? The original is where it was.',
      cause: error,
    });
  }
  reached('exchanged');
  confirm(db, names, node, { mounted, position, made });
  const original = putAway(names, keep);
  reached('kept');
  removeSideFiles(file);
  return { file, mounted, position, original, resumed: false };
}

/** One transaction of SQLite's in the mount; on disk, and known to the node, when it returns. */
async function copyInto(
  db: Database.Database,
  mounted: string,
  owner: fs.Stats,
  reached: (step: AdoptStep) => void,
): Promise<string> {
  await db.backup(mounted, { progress: () => ALL_PAGES });
  reached('copied');
  fs.chownSync(mounted, owner.uid, owner.gid);
  fs.chmodSync(mounted, owner.mode & 0o7777);
  syncFile(mounted);
  const position = positionOf(mounted);
  if (position === '') {
    throw new LiteFsError('WRONG_STATE', `${mounted} would not be replicated`, {
      hint: 'Its name fits none of lease.databases: add it there, or take another: --as NAME',
    });
  }
  reached('settled');
  return position;
}

/** Nobody may have opened the original in the last moment: such a one would go on with it. */
function confirm(
  db: Database.Database,
  names: Names,
  node: NodeReport,
  copy: { mounted: string; position: string; made: readonly string[] },
): void {
  const users = usersOf(names.adopting, [process.pid]);
  db.close();
  const fd = fs.openSync(names.adopting, 'r');
  const held = users.length === 0 && isHeld(fd);
  fs.closeSync(fd);
  if (users.length === 0 && !held) return;
  exchange(names.file, names.adopting);
  const untouched =
    positionOf(copy.mounted) === copy.position &&
    usersOf(copy.mounted, [process.pid, node.pid]).length === 0;
  takeBack(names, untouched ? copy.mounted : undefined, copy.made);
  refuseUsers(names.file, users);
  throw new LiteFsError('WRONG_STATE', `${names.file} was opened meanwhile`, {
    hint: 'Stop its application first. The original is where it was.',
  });
}

function putAway(names: Names, keep: boolean): string | undefined {
  const folder = path.dirname(names.file);
  if (keep) fs.renameSync(names.adopting, names.before);
  else fs.rmSync(names.adopting);
  syncDirectory(folder);
  return keep ? names.before : undefined;
}

/** What was made so far goes away, the announcement last. */
function takeBack(names: Names, mounted: string | undefined, made: readonly string[]): void {
  if (mounted !== undefined) removeDatabase(mounted);
  for (const dir of made.toReversed()) if (fs.readdirSync(dir).length === 0) fs.rmdirSync(dir);
  fs.rmSync(names.adopting, { force: true });
}

/** What a run that was cut off has left: finished when the link is in its place, else taken back. */
function settleEarlierRun(names: Names, node: NodeReport, keep: boolean): Adopted | undefined {
  const [file, adopting] = [kindOf(names.file), kindOf(names.adopting)];
  if (file === 'file' && adopting === 'link') {
    const mounted = fs.readlinkSync(names.adopting);
    if (nameInMount(node, mounted) === undefined) {
      throw new LiteFsError(
        'WRONG_STATE',
        `${names.adopting} leads to ${mounted}, which is not in ${node.path}`,
        {
          hint: 'Another node was to adopt it. Remove that link when it has not.',
        },
      );
    }
    refuseUsers(mounted, usersOf(mounted, [process.pid, node.pid]));
    if (transactionsIn(mounted) > 1) {
      throw new LiteFsError(
        'WRONG_STATE',
        `an earlier run was cut off, and ${mounted} was written since`,
        {
          hint: `Remove ${names.adopting} when that one is to stay, or ${mounted} when it is not.`,
        },
      );
    }
    takeBack(names, mounted, []);
  }
  if (file !== 'link' || adopting !== 'file') return undefined;
  const mounted = fs.readlinkSync(names.file);
  const position = positionOf(mounted);
  if (nameInMount(node, mounted) === undefined || position === '') {
    throw new LiteFsError('WRONG_STATE', `${names.file} leads to ${mounted}, which is not there`, {
      hint: `The original is ${names.adopting}.`,
    });
  }
  refuseUsers(names.adopting, usersOf(names.adopting, [process.pid]));
  const original = putAway(names, keep);
  removeSideFiles(names.file);
  return { file: names.file, mounted, position, original, resumed: true };
}

/** A copy that nobody has used yet was one transaction; one that was cut off was none. */
function transactionsIn(mounted: string): number {
  return Number.parseInt(positionOf(mounted) || '0', 16);
}

function refuseWhatIsInTheWay({ file, adopting, before }: Names, node: NodeReport): void {
  const kind = kindOf(file);
  if (kind === 'link') {
    const target = fs.readlinkSync(file);
    throw new LiteFsError('WRONG_STATE', `${file} is a link to ${target}`, {
      hint: nameInMount(node, target)
        ? 'It is in the mount already. Back: litefs-lite release'
        : 'Name the database itself.',
    });
  }
  if (kind !== 'file') {
    throw new LiteFsError('USAGE', `${file} is ${kind === 'absent' ? 'not there' : 'no file'}`);
  }
  if (nameInMount(node, file) !== undefined) {
    throw new LiteFsError('WRONG_STATE', `${file} is in the mount already`);
  }
  for (const name of [adopting, before]) {
    if (kindOf(name) === 'absent') continue;
    throw new LiteFsError('WRONG_STATE', `${name} is in the way`, {
      hint: 'Move it away: the original would be kept under that name.',
    });
  }
}
