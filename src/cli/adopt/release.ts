/**
 * Undoes an adoption: in the place of the link comes a copy of the present state. The link and the copy change places
 * at once, so its path leads to all of the database at each moment; a run that was cut off is finished by the next.
 *
 * As in adopt.ts, others may change each name in both folders at any moment. And they can make links: so a link counts
 * only when it belongs to the owner of what it leads to, and a database is deleted only when its copy is seen to be there.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../../errors.ts';
import type { NodeReport } from '../../http/info.ts';
import { formatPosition, type Position } from '../../ltx/position.ts';
import { type Folder, type Held, isOurs, targetOf } from '../../os/folder.ts';
import { give } from './copy.ts';
import {
  asFault,
  changed,
  folderIn,
  nameInMount,
  openMount,
  positionOf,
  refuseUsers,
  removeDatabase,
  usersOf,
} from './mounted.ts';
import { kindOf, type Names, namesOf, SIDE_FILES } from './names.ts';
import { putAway } from './original.ts';
import { type Place, placeOf } from './place.ts';
import { copyPresent, equal } from './present.ts';
import { withScratch } from './scratch.ts';
import { beside, checksumOf, copyParts, finish, writeInto } from './whole.ts';

export interface ReleaseOptions {
  readonly file: string;
  readonly node: NodeReport;
  /** Removes the database from the mount, and so from all replicas. */
  readonly delete: boolean;
  /** Called after each step. */
  readonly reached?: (step: ReleaseStep) => void;
}

export const RELEASE_STEPS = ['copied', 'exchanged', 'unlinked'] as const;
export type ReleaseStep = (typeof RELEASE_STEPS)[number];

export interface Released {
  readonly file: string;
  /** Where it was in the mount, and still is unless it was deleted. */
  readonly mounted: string;
  readonly position: string;
}

/**
 * Rejects with USAGE, WRONG_STATE when it is in use, is not adopted, or another has changed names meanwhile;
 * DATABASE_NOT_FOUND, DATABASE_BUSY when it changes meanwhile, DISK.
 */
export async function releaseDatabase(options: ReleaseOptions): Promise<Released> {
  const { node } = options;
  const root = openMount(node);
  let names: Names | undefined;
  try {
    if (options.delete && !node.isPrimary) {
      throw new LiteFsError(
        'WRONG_STATE',
        `${node.hostname} is a replica: nothing can be deleted there`,
        {
          hint: 'Leave --delete out, or run it on the primary.',
        },
      );
    }
    names = namesOf(options.file);
    return await release(names, root, options);
  } catch (error) {
    throw asFault(error, `cannot release ${options.file}`);
  } finally {
    names?.folder.close();
    root.close();
  }
}

/** What a release has in its hands. */
interface Job {
  readonly names: Names;
  readonly node: NodeReport;
  readonly place: Place;
  /** Its folder in the mount. */
  readonly mounted: Folder;
  /** The database, open for reading. */
  readonly fd: number;
  readonly link: Held;
  readonly reached: (step: ReleaseStep) => void;
}

async function release(names: Names, root: Folder, options: ReleaseOptions): Promise<Released> {
  const { node, reached = () => {} } = options;
  const { folder, file, releasing, before } = names;
  // The copy of a run that was cut off, or the link that it had still to remove.
  const resumed = kindOf(folder, releasing) === 'link';
  if (kindOf(folder, releasing) === 'file') folder.remove(releasing);
  if (!resumed) clearTheWay(names);
  const link = holdLink(names, resumed ? releasing : file, node);
  const open: Folder[] = [];
  let fd: number | undefined;
  try {
    const place = adoptedAs(link, names, node);
    const mounted = folderIn(root, place.folders);
    if (mounted && mounted !== root) open.push(mounted);
    fd = mounted?.openFile(place.base);
    if (!mounted || fd === undefined) throw notThere(names, place);
    refuseForeign(names, link.stat, fs.fstatSync(fd), place);
    refuseUsers(place.path, usersOf(mounted, place.base, [process.pid, node.pid]));

    const job: Job = { names, node, place, mounted, fd, link, reached };
    const position = resumed ? positionOf(mounted, place.base) : await putBack(job);
    const isCopied = !resumed || (options.delete && (await isCopyOf(names, position)));
    for (const suffix of ['', ...SIDE_FILES]) folder.remove(before + suffix);
    // Last: it tells the next run what was under way.
    if (folder.has(releasing, link.fd)) folder.remove(releasing);
    folder.sync();
    reached('unlinked');
    if (options.delete) deleteMounted(job, isCopied);
    const shown = position ? formatPosition(position) : '';
    return { file: names.path, mounted: place.path, position: shown };
  } finally {
    fs.closeSync(link.fd);
    if (fd !== undefined) fs.closeSync(fd);
    for (const each of open) each.close();
  }
}

/**
 * What lies beside a link is of no use to it, but SQLite would take it for a part of the copy. An adoption that was cut off
 * may have left it: then it has still to go with its original. Throws WRONG_STATE.
 */
function clearTheWay(names: Names): void {
  const { folder, file, adopting } = names;
  if (kindOf(folder, file) === 'link' && kindOf(folder, adopting) === 'file') putAway(names, true);
  const left = beside(folder, file);
  if (left === undefined) return;
  throw new LiteFsError('WRONG_STATE', `${folder.at(left)} is in the way`, {
    hint: 'SQLite would take it for a part of the copy. Move it away.',
  });
}

/** Makes the copy, and lets it take the place of the link. Returns its position. */
async function putBack(job: Job): Promise<Position | undefined> {
  const { names, node, place, mounted, fd, link, reached } = job;
  const { folder, file, releasing } = names;
  const copy = folder.makeFile(releasing);
  let exchanged = false;
  try {
    const position = await withScratch(async (dir) => {
      const applied = !node.isPrimary;
      const present = await copyPresent(mounted, place.base, fd, { applied, dir });
      writeInto(copy, present.whole);
      return present.position;
    });
    give(copy, fs.fstatSync(fd));
    fs.fsyncSync(copy);
    folder.sync();
    reached('copied');
    if (!folder.has(releasing, copy)) throw changed(names.path);
    folder.exchange(file, releasing);
    exchanged = true;
    folder.sync();
    reached('exchanged');
    confirm(job, copy, position);
    return position;
  } catch (error) {
    if (exchanged && folder.has(releasing, link.fd)) folder.exchange(file, releasing);
    if (folder.has(releasing, copy)) {
      for (const suffix of ['', ...SIDE_FILES]) folder.remove(releasing + suffix);
    }
    if (error instanceof LiteFsError) throw error;
    throw new LiteFsError(
      'DISK',
      `cannot copy ${place.path} to ${folder.at(releasing)}: ${errorText(error)}`,
      {
        hint: 'The database is where it was.',
        cause: error,
      },
    );
  } finally {
    fs.closeSync(copy);
  }
}

/** Nobody may have written in the last moment, nor be about to. */
function confirm(
  { names, node, place, mounted, link }: Job,
  copy: number,
  position: Position | undefined,
): void {
  const { folder, file, releasing } = names;
  if (!folder.has(file, copy) || !folder.has(releasing, link.fd)) throw changed(names.path);
  refuseUsers(place.path, usersOf(mounted, place.base, [process.pid, node.pid]));
  if (equal(positionOf(mounted, place.base), position)) return;
  throw new LiteFsError('DATABASE_BUSY', `${place.path} was written meanwhile`, {
    hint: 'Stop its application first. The link is where it was.',
  });
}

/** Throws USAGE, WRONG_STATE when there is no link of that name. */
function holdLink({ folder }: Names, name: string, node: NodeReport): Held {
  const held = folder.hold(name);
  if (!held) throw new LiteFsError('USAGE', `${folder.at(name)} is not there`);
  if (held.stat.isSymbolicLink()) return held;
  fs.closeSync(held.fd);
  throw notAdopted(folder.at(name), node);
}

/** Where the link leads. */
function adoptedAs(link: Held, names: Names, node: NodeReport): Place {
  const name = nameInMount(node, targetOf(link));
  if (name === undefined) throw notAdopted(names.path, node);
  const place = placeOf(node, name);
  if (!node.databases.some((each) => each.name === name)) throw notThere(names, place);
  return place;
}

function notAdopted(link: string, node: NodeReport): LiteFsError {
  return new LiteFsError('WRONG_STATE', `${link} is not adopted: it is no link into ${node.path}`, {
    hint: 'A copy of any database in the mount: litefs-lite export NAME FILE',
  });
}

function notThere(names: Names, place: Place): LiteFsError {
  const text = `${names.path} leads to ${place.path}, and there is no such database`;
  return new LiteFsError('DATABASE_NOT_FOUND', text, {
    hint: 'litefs-lite status lists the databases; litefs-lite restore makes one of a snapshot.',
  });
}

/** The owner of a folder can put any link there, to a database of another user as well. */
function refuseForeign(
  { folder, path: link }: Names,
  owner: fs.Stats,
  database: fs.Stats,
  place: Place,
): void {
  if (owner.uid === database.uid || isOurs(folder.stat())) return;
  throw new LiteFsError(
    'WRONG_STATE',
    `the link ${link} belongs to user ${owner.uid}, and ${place.path} to user ${database.uid}`,
    { hint: `If it is meant so: chown -h ${database.uid} ${link}` },
  );
}

/** Whether the file is what the database in the mount is. What cannot be told is no. */
async function isCopyOf({ folder, file }: Names, position: Position | undefined): Promise<boolean> {
  const fd = folder.openFile(file);
  if (fd === undefined || position === undefined) return false;
  try {
    return await withScratch((dir) => {
      const to = path.join(dir, 'database');
      copyParts(folder, file, fd, to);
      return checksumOf(finish(to, folder.at(file))) === position.checksum;
    });
  } finally {
    fs.closeSync(fd);
  }
}

/** A run that was cut off has left no proof that the file is the copy: another may have made it look so. */
function deleteMounted({ names, place, mounted, fd }: Job, isCopied: boolean): void {
  if (!isCopied || !mounted.has(place.base, fd)) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${names.path} is a file of its own again, but other than ${place.path}, which was not removed`,
      { hint: `An earlier run was cut off. When nothing in it is needed: rm ${place.path}` },
    );
  }
  removeDatabase(mounted, place.base);
}
