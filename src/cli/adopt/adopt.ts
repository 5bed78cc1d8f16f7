/**
 * Moves a database into the mount, and leaves a link where it was. At each moment its path leads to all of it:
 *
 *     app.db                 app.db.adopting-…      app.db.before-…    the mount
 *  1  the database           link                   -                  -
 *  2  the database           link                   -                  a copy, on disk
 *  3  link                   the database           -                  the database
 *  4  link                   -                      the original       the database
 *
 * Between 2 and 3 the two names change places at once. A lock on the original, as SQLite's writers have it, keeps others
 * from writing to it from before 1 until after 3. What was cut off by a crash is taken back, or finished, by the next run.
 *
 * The database's folder, and its folder in the mount, may belong to the application's user, who may change each name in
 * them at any moment. Both are held open (Folder). What is made or given away is known by its descriptor, what SQLite opens
 * lies in a folder of our own (scratch.ts), and the original is never written. After each exchange we look whether it was
 * what we meant that changed places.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, isOutsideFault, LiteFsError } from '../../errors.ts';
import type { NodeReport } from '../../http/info.ts';
import type { Folder, Held } from '../../os/folder.ts';
import { MountedCopy } from './copy.ts';
import { markOf } from './mark.ts';
import { asFault, changed, nameInMount, openMount, refuseUsers, usersOf } from './mounted.ts';
import { kindOf, linkedFrom, type Names, namesOf, SIDE_FILES } from './names.ts';
import { copyOriginal, isHeld, openOriginal, putAway, seize } from './original.ts';
import { type Place, placeFor } from './place.ts';
import { withScratch } from './scratch.ts';
import { settleEarlierRun } from './settle.ts';
import type { Whole } from './whole.ts';

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

/**
 * Throws USAGE, WRONG_STATE on a replica, when the database is in use, the name is taken, or another has changed names
 * meanwhile; DATABASE_CORRUPT, CHECKSUM_MISMATCH, DISK. The original is where it was then.
 */
export async function adoptDatabase(options: AdoptOptions): Promise<Adopted> {
  const { node } = options;
  if (!node.isPrimary) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${node.hostname} is a replica: nothing can be written there`,
      {
        hint: `Run it on the primary${node.primary.hostname ? `, ${node.primary.hostname}` : ''}.`,
      },
    );
  }
  const root = openMount(node);
  let names: Names | undefined;
  try {
    names = namesOf(options.file);
    return await adopt(names, root, options);
  } catch (error) {
    throw asFault(error, `cannot move ${options.file} to ${node.path}`);
  } finally {
    names?.folder.close();
    root.close();
  }
}

async function adopt(names: Names, root: Folder, options: AdoptOptions): Promise<Adopted> {
  const { node, as, keep, reached = () => {} } = options;
  const finished = settleEarlierRun(names, node, root, keep);
  if (finished) {
    const { place, position, original } = finished;
    return { file: names.path, mounted: place.path, position, original, resumed: true };
  }
  refuseWhatIsInTheWay(names, node, root);

  const fd = openOriginal(names);
  const lock = new Lock();
  try {
    const place = placeFor(names, fs.fstatSync(fd), node, root, as);
    lock.fd = seize(fd, names.path);
    return await withScratch((dir) => {
      const whole = copyOriginal(names, fd, path.join(dir, 'database'));
      reached('seized');
      return move({ names, root, node, place, fd, lock, whole, keep, reached });
    });
  } finally {
    lock.release();
    fs.closeSync(fd);
  }
}

/** What an adoption has in its hands. */
interface Adoption {
  readonly names: Names;
  readonly root: Folder;
  readonly node: NodeReport;
  readonly place: Place;
  /** The original, open for reading. */
  readonly fd: number;
  readonly lock: Lock;
  readonly whole: Whole;
  readonly keep: boolean;
  readonly reached: (step: AdoptStep) => void;
}

/** On the original; let go before it is asked whether others have it open. */
class Lock {
  fd: number | undefined;

  release(): void {
    if (this.fd !== undefined) fs.closeSync(this.fd);
    this.fd = undefined;
  }
}

function move(adoption: Adoption): Adopted {
  const { names, root, place, fd, whole, keep, reached } = adoption;
  const { folder, file, adopting } = names;
  const owner = fs.fstatSync(fd);
  const made: Made = { exchanged: false };
  try {
    made.link = folder.makeLink(adopting, place.path, owner);
    folder.sync();
    reached('announced');
    made.copy = new MountedCopy(root, place, markOf(names, owner));
    reached('reserved');
    made.copy.fill(whole);
    reached('copied');
    made.copy.confirm(whole);
    made.copy.giveTo(owner, folder.stat());
    reached('settled');
    refuseUsers(names.path, usersOf(folder, file, [process.pid]));
    if (!folder.has(file, fd)) throw changed(names.path);
    exchange(names);
    made.exchanged = true;
    reached('exchanged');
    confirm(adoption, made.link, made.copy);
    made.copy.complete();
  } catch (error) {
    try {
      undo(adoption, made);
    } catch (fault) {
      // The mount may be gone; the next run finds the announcement.
      if (!isOutsideFault(fault)) throw fault;
    }
    closeAll(made);
    throw error;
  }
  const { position } = made.copy;
  closeAll(made);
  const original = putAway(names, keep);
  reached('kept');
  return { file: names.path, mounted: place.path, position, original, resumed: false };
}

interface Made {
  link?: Held;
  copy?: MountedCopy;
  exchanged: boolean;
}

function exchange({ folder, file, adopting }: Names): void {
  try {
    folder.exchange(file, adopting);
    folder.sync();
  } catch (error) {
    const text = `${folder.at(file)} and ${adopting} cannot change places: ${errorText(error)}`;
    throw new LiteFsError('DISK', text, {
      hint: 'The file system of the folder must be a local one.',
      cause: error,
    });
  }
}

/** Nobody may have opened the original in the last moment: such a one would go on with it. */
function confirm({ names, fd, lock }: Adoption, link: Held, copy: MountedCopy): void {
  const { folder, file, adopting } = names;
  const isMeant = folder.has(file, link.fd) && folder.has(adopting, fd) && copy.isThere();
  if (!isMeant || fs.fstatSync(fd).nlink !== 1) throw changed(names.path);
  refuseUsers(names.path, usersOf(folder, adopting, [process.pid]));
  lock.release();
  if (!isHeld(fd)) return;
  throw new LiteFsError('WRONG_STATE', `${names.path} was opened meanwhile`, {
    hint: 'Stop its application first. The original is where it was.',
  });
}

/** What was made so far goes away, as far as it still is what was made, the announcement last. */
function undo({ names, node, fd }: Adoption, { link, copy, exchanged }: Made): void {
  const { folder, file, adopting } = names;
  if (exchanged && folder.has(adopting, fd)) folder.exchange(file, adopting);
  // After the exchange it was in use.
  const isUnused = (own: MountedCopy) =>
    own.isUntouched() && usersOf(own.folder, own.place.base, [process.pid, node.pid]).length === 0;
  if (copy && (!exchanged || isUnused(copy))) copy.takeBack();
  if (link && folder.has(adopting, link.fd)) folder.remove(adopting);
}

function closeAll({ link, copy }: Made): void {
  if (link) fs.closeSync(link.fd);
  copy?.close();
}

function refuseWhatIsInTheWay(names: Names, node: NodeReport, root: Folder): void {
  const { folder, file, adopting, before } = names;
  const kind = kindOf(folder, file);
  if (kind === 'link') {
    const target = linkedFrom(folder, file)?.target ?? '';
    throw new LiteFsError('WRONG_STATE', `${names.path} is a link to ${target}`, {
      hint: nameInMount(node, target)
        ? 'It is in the mount already. Back: litefs-lite release'
        : 'Name the database itself.',
    });
  }
  if (kind !== 'file') {
    const what = kind === 'absent' ? 'not there' : 'no file';
    throw new LiteFsError('USAGE', `${names.path} is ${what}`);
  }
  if (folder.stat().dev === root.stat().dev) {
    throw new LiteFsError('WRONG_STATE', `${names.path} is in the mount already`);
  }
  for (const name of [adopting, before, ...SIDE_FILES.map((suffix) => before + suffix)]) {
    if (kindOf(folder, name) === 'absent') continue;
    throw new LiteFsError('WRONG_STATE', `${folder.at(name)} is in the way`, {
      hint: 'Move it away: the original would be kept under that name.',
    });
  }
}
