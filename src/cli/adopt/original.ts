/** A database outside of the mount: looked at, kept from others while it is copied, and put away. It is never written. */
import fs from 'node:fs';
import { errorText, LiteFsError } from '../../errors.ts';
import { type Folder, reopen } from '../../os/folder.ts';
import { isOpenElsewhere, ofdLock } from '../../os/locks.ts';
import { checkIntegrity } from '../../snapshots/integrity.ts';
import { DB_HEADER_BYTES, parseDbHeader } from '../../sqlite/db-header.ts';
import { EXCLUSIVE_SIZE, PENDING_BYTE } from '../../sqlite/locks.ts';
import { refuseUsers, usersOf } from './mounted.ts';
import { type Names, SIDE_FILES } from './names.ts';
import { copyParts, finish, type Whole } from './whole.ts';

/**
 * Opens it for reading. Throws USAGE when it is no database, or one that cannot be moved by its name; WRONG_STATE when it is
 * in use.
 */
export function openOriginal({ folder, file, path }: Names): number {
  const fd = folder.openFile(file);
  if (fd === undefined) throw new LiteFsError('USAGE', `${path} is not there, or no file`);
  try {
    inspect(fd, folder, file);
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function inspect(fd: number, folder: Folder, file: string): void {
  const where = folder.at(file);
  const stat = fs.fstatSync(fd);
  const header = Buffer.alloc(DB_HEADER_BYTES);
  fs.readSync(fd, header, 0, header.length, 0);
  if (parseDbHeader(header) === undefined) {
    throw new LiteFsError('USAGE', `${where} is not an SQLite database`, {
      hint:
        stat.size === 0
          ? 'It is empty: let its application make it in the mount.'
          : 'Other files may lie in the mount too, but are not replicated: move them by mv.',
    });
  }
  if (stat.nlink > 1) {
    throw new LiteFsError('USAGE', `${where} has ${stat.nlink - 1} more names (hard links)`, {
      hint: 'Who opens it by another name would write to the old file. Remove those first.',
    });
  }
  refuseUsers(where, usersOf(folder, file, [process.pid]));
  if (isHeld(fd)) {
    throw new LiteFsError('WRONG_STATE', `${where} is in use by a process that cannot be seen`, {
      hint: 'Is it one in a container, or another user’s? As root all are seen.',
    });
  }
}

/** Whether somebody has it open for writing; false where the file system cannot tell. */
export function isHeld(fd: number): boolean {
  return isOpenElsewhere(fd) === true;
}

/**
 * Locks it as an SQLite writer does, so that no other SQLite can read or write it until the descriptor that is returned is
 * closed. Throws WRONG_STATE when it is locked.
 */
export function seize(fd: number, where: string): number {
  const locked = reopen(fd, fs.constants.O_RDWR);
  try {
    if (ofdLock(locked, 'write', PENDING_BYTE, EXCLUSIVE_SIZE)) return locked;
  } catch (error) {
    fs.closeSync(locked);
    throw cannot(where, error);
  }
  fs.closeSync(locked);
  throw cannot(where, new Error('database is locked'));
}

function cannot(where: string, cause: unknown): LiteFsError {
  return new LiteFsError('WRONG_STATE', `${where} cannot be had alone: ${errorText(cause)}`, {
    hint: 'Stop its application first.',
    cause,
  });
}

/**
 * A copy of it that is sound, with all that a crash of the application has left in a -wal or a journal. It must be seized.
 * Throws DATABASE_CORRUPT, WRONG_STATE, DISK.
 */
export function copyOriginal({ folder, file, path }: Names, fd: number, to: string): Whole {
  copyParts(folder, file, fd, to);
  checkIntegrity(to, {
    of: path,
    hint: `Repair it first: sqlite3 ${path} .recover | sqlite3 repaired.db`,
  });
  return finish(to, path);
}

/**
 * The last step: the original, which has the name `adopting`, is kept as it was found, or removed, and with it what SQLite
 * has left beside it. All of that is of no use to what its old name leads to. Returns where it is.
 */
export function putAway(
  { folder, file, adopting, before }: Names,
  keep: boolean,
): string | undefined {
  for (const suffix of SIDE_FILES) {
    const stat = folder.look(file + suffix);
    if (!stat?.isFile()) continue;
    const isPart = keep && suffix !== '-shm' && stat.size > 0;
    if (isPart) folder.move(file + suffix, before + suffix);
    else folder.remove(file + suffix);
  }
  if (keep) folder.move(adopting, before);
  else folder.remove(adopting);
  folder.sync();
  return keep ? folder.at(before) : undefined;
}
