/** The names beside a database that adopt and release use, and how two of them change places. */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../../errors.ts';
import { checked, cString, rename } from '../../os/libc.ts';
import { syncDirectory } from '../../store/log-files.ts';

/** What SQLite keeps beside a database. */
export const SIDE_FILES = ['-wal', '-shm', '-journal'] as const;

const RENAME_EXCHANGE = 2;

export interface Names {
  /** Where its application opens the database: absolute, the folder without symbolic links. */
  readonly file: string;
  /** While adopt is at work: the link that is to take the file's place; then, for a moment, the file. */
  readonly adopting: string;
  /** While release is at work: the copy that is to take the link's place; then, for a moment, the link. */
  readonly releasing: string;
  /** The original, kept. */
  readonly before: string;
}

/** Throws USAGE when there is no such folder. */
export function namesOf(given: string): Names {
  let folder: string;
  try {
    folder = fs.realpathSync(path.dirname(path.resolve(given)));
  } catch (error) {
    throw new LiteFsError('USAGE', `cannot find ${given}: ${errorText(error)}`, { cause: error });
  }
  const file = path.join(folder, path.basename(given));
  return {
    file,
    adopting: `${file}.adopting-litefs-lite`,
    releasing: `${file}.releasing-litefs-lite`,
    before: `${file}.before-litefs-lite`,
  };
}

export type Kind = 'absent' | 'link' | 'file' | 'other';

/** What has a name, links not followed. */
export function kindOf(name: string): Kind {
  const stat = fs.lstatSync(name, { throwIfNoEntry: false });
  if (!stat) return 'absent';
  if (stat.isSymbolicLink()) return 'link';
  return stat.isFile() ? 'file' : 'other';
}

/** Two names change places at once: at no moment is there none. On disk when it returns. Throws DISK. */
export function exchange(a: string, b: string): void {
  try {
    checked('renameat2', rename(cString(a), cString(b), RENAME_EXCHANGE), a);
    syncDirectory(path.dirname(a));
  } catch (error) {
    throw new LiteFsError('DISK', `${a} and ${b} cannot change places: ${errorText(error)}`, {
      hint: 'The file system of the folder must be a local one.',
      cause: error,
    });
  }
}

export function syncFile(file: string): void {
  const fd = fs.openSync(file, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  syncDirectory(path.dirname(file));
}
