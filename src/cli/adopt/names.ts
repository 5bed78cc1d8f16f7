/** The folder of a database, and the names in it that adopt and release use. */
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../../errors.ts';
import { type Folder, targetOf } from '../../os/folder.ts';
import { openFolder } from '../../os/walk.ts';

/** What SQLite keeps beside a database. */
export const SIDE_FILES = ['-wal', '-shm', '-journal'] as const;

export interface Names {
  /** Open: whatever others do to its path, it stays this one. */
  readonly folder: Folder;
  /** The absolute path of the database, its folder without symbolic links. */
  readonly path: string;
  /** What its application opens. This and those that follow are names in the folder. */
  readonly file: string;
  /** While adopt is at work: the link that is to take the file's place; then, for a moment, the file. */
  readonly adopting: string;
  /** While release is at work: the copy that is to take the link's place; then, for a moment, the link. */
  readonly releasing: string;
  /** The original, kept. */
  readonly before: string;
}

/** Opens the folder. Throws USAGE when there is none, WRONG_STATE when a link on the way is another user's. */
export function namesOf(given: string): Names {
  const whole = path.resolve(given);
  const { folder } = openFolder(path.dirname(whole));
  const file = path.basename(whole);
  if (file === '') {
    folder.close();
    throw new LiteFsError('USAGE', `${given} is a directory, not a database`);
  }
  return {
    folder,
    path: folder.at(file),
    file,
    adopting: `${file}.adopting-litefs-lite`,
    releasing: `${file}.releasing-litefs-lite`,
    before: `${file}.before-litefs-lite`,
  };
}

export type Kind = 'absent' | 'link' | 'file' | 'other';

/** What has a name, links not followed. */
export function kindOf(folder: Folder, name: string): Kind {
  const stat = folder.look(name);
  if (!stat) return 'absent';
  if (stat.isSymbolicLink()) return 'link';
  return stat.isFile() ? 'file' : 'other';
}

/** Where the link of that name leads; undefined when it is none. */
export function linkedFrom(
  folder: Folder,
  name: string,
): { target: string; uid: number } | undefined {
  const held = folder.hold(name);
  if (!held) return undefined;
  try {
    if (!held.stat.isSymbolicLink()) return undefined;
    return { target: targetOf(held), uid: held.stat.uid };
  } finally {
    fs.closeSync(held.fd);
  }
}
