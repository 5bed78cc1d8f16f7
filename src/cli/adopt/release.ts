/**
 * Undoes an adoption: in the place of the link comes a copy of the present state. The link and the copy change places
 * at once, so its path leads to all of the database at each moment; a run that was cut off is finished by the next.
 */
import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
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
import { exchange, kindOf, type Names, namesOf, SIDE_FILES, syncFile } from './names.ts';

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

const BUSY_MS = 10_000;
const ALL_PAGES = 2 ** 31 - 1;

/** Throws USAGE, WRONG_STATE when it is in use or is not adopted, DATABASE_BUSY when it changes meanwhile, DISK. */
export async function releaseDatabase(options: ReleaseOptions): Promise<Released> {
  const { node, reached = () => {} } = options;
  requireMount(node);
  const names = namesOf(options.file);
  if (options.delete && !node.isPrimary) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${node.hostname} is a replica: nothing can be deleted there`,
      {
        hint: 'Leave --delete out, or run it on the primary.',
      },
    );
  }
  // The copy of a run that was cut off, or the link that it had still to remove.
  const resumed = kindOf(names.releasing) === 'link';
  if (kindOf(names.releasing) === 'file') fs.rmSync(names.releasing);
  const mounted = adoptedAs(resumed ? names.releasing : names.file, node);
  refuseUsers(mounted, usersOf(mounted, [process.pid, node.pid]));

  let position = positionOf(mounted);
  if (!resumed) {
    position = await copyOut(mounted, names.releasing);
    reached('copied');
    exchange(names.file, names.releasing);
    reached('exchanged');
    confirm(names, node, mounted, position);
  }
  fs.rmSync(names.releasing);
  fs.rmSync(names.before, { force: true });
  syncDirectory(path.dirname(names.file));
  reached('unlinked');
  if (options.delete) removeDatabase(mounted);
  return { file: names.file, mounted, position };
}

/** Where the link leads. */
function adoptedAs(link: string, node: NodeReport): string {
  const kind = kindOf(link);
  if (kind === 'absent') throw new LiteFsError('USAGE', `${link} is not there`);
  const target = kind === 'link' ? fs.readlinkSync(link) : link;
  const name = nameInMount(node, target);
  if (kind !== 'link' || name === undefined) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${link} is not adopted: it is no link into ${node.path}`,
      {
        hint: 'A copy of any database in the mount: litefs-lite export NAME FILE',
      },
    );
  }
  if (!node.databases.some((each) => each.name === name)) {
    throw new LiteFsError(
      'DATABASE_NOT_FOUND',
      `${link} leads to ${target}, and there is no such database`,
      {
        hint: 'litefs-lite status lists the databases; litefs-lite restore makes one of a snapshot.',
      },
    );
  }
  return target;
}

/** One state, with owner and mode, on disk. Returns its position. */
async function copyOut(mounted: string, copy: string): Promise<string> {
  const position = positionOf(mounted);
  try {
    fs.closeSync(fs.openSync(copy, 'wx', 0o600));
    const db = new Database(mounted, { readonly: true, fileMustExist: true, timeout: BUSY_MS });
    try {
      await db.backup(copy, { progress: () => ALL_PAGES });
    } finally {
      db.close();
    }
    const { uid, gid, mode } = fs.statSync(mounted);
    fs.chownSync(copy, uid, gid);
    fs.chmodSync(copy, mode & 0o7777);
    syncFile(copy);
  } catch (error) {
    fs.rmSync(copy, { force: true });
    throw new LiteFsError('DISK', `cannot copy ${mounted} to ${copy}: ${errorText(error)}`, {
      hint: 'The database is where it was.',
      cause: error,
    });
  }
  return position;
}

/** Nobody may have written in the last moment, nor be about to. */
function confirm(names: Names, node: NodeReport, mounted: string, position: string): void {
  const users = usersOf(mounted, [process.pid, node.pid]);
  if (users.length === 0 && positionOf(mounted) === position) return;
  exchange(names.file, names.releasing);
  for (const suffix of ['', ...SIDE_FILES]) fs.rmSync(names.releasing + suffix, { force: true });
  refuseUsers(mounted, users);
  throw new LiteFsError('DATABASE_BUSY', `${mounted} was written meanwhile`, {
    hint: 'Stop its application first. The link is where it was.',
  });
}
