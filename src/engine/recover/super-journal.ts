/**
 * Before mounting: transactions over several databases that an unclean stop has interrupted.
 *
 * The journal of each database names a super-journal, whose removal is the commit of all. While it exists, all are to be
 * rolled back. SQLite looks for it by the path that it had in the mount, finds nothing there now, and would keep what
 * happens to be written. So the name is taken out of each journal whose super-journal is in the tree: what is left is an
 * ordinary hot journal. The super-journal goes last of all, when no journal names it any more: a crash in between changes
 * nothing.
 *
 * The application may have had its main database outside of the mount, and with it the super-journal. Such a file is looked
 * at, and neither changed nor removed.
 */
import fs from 'node:fs';
import path from 'node:path';
import { isOutsideFault } from '../../errors.ts';
import { findSuperJournal, type JournalFile } from '../../sqlite/journal-format.ts';
import { parentOf, type TreeDoor } from '../../store/tree-door.ts';

/** As SQLite names them: after the main database of the connection, and at random. */
const SUPER_NAME = /-mj[0-9A-Fa-f]+$/;
/** Larger than any list of the databases that one connection has. */
const SUPER_BYTES_MAX = 1 << 20;

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = fs.constants;

/** A file by its name in the tree, or by an absolute path outside of it; byte strings. */
type Place = { readonly name: string } | { readonly outside: string };

/**
 * Makes the hot journal of a database one that SQLite rolls back, if it belongs to a transaction over several that was
 * not committed: returns its super-journal, if that is in the tree. Otherwise nothing is done.
 * @param name the database, in the tree
 */
export function leaveSuperJournal(tree: TreeDoor, name: string): string | undefined {
  return withHotJournal(tree, { name: `${name}-journal` }, O_RDWR, (fd, file) => {
    const found = findSuperJournal(file);
    const named = nameIn(found);
    if (!found || !SUPER_NAME.test(named)) return undefined;
    const superJournal = placesOf(tree, named).find((place) => isFile(tree, place));
    if (superJournal === undefined) return undefined;
    fs.ftruncateSync(fd, found.offset);
    fs.fsyncSync(fd);
    return 'name' in superJournal ? superJournal.name : undefined;
  });
}

/** Removes a super-journal of the tree, unless a database that was not recovered here still needs it. */
export function removeSuperJournal(tree: TreeDoor, superJournal: string): void {
  const text = withFile(tree, { name: superJournal }, O_RDONLY, (fd) => {
    const { size } = fs.fstatSync(fd);
    return size > SUPER_BYTES_MAX ? undefined : fs.readFileSync(fd, 'latin1');
  });
  const isNeeded = text
    ?.split('\0')
    .filter((journal) => journal !== '')
    .flatMap((journal) => placesOf(tree, journal))
    .some((place) => names(tree, place, superJournal));
  if (isNeeded !== false) return;
  tree.unlink(superJournal);
  tree.inDirectory(parentOf(superJournal), (fd) => fs.fsyncSync(fd), O_RDONLY);
}

/** Whether the file is a hot journal with that super-journal. */
function names(tree: TreeDoor, journal: Place, superJournal: string): boolean {
  const named = withHotJournal(tree, journal, O_RDONLY, (_, file) =>
    nameIn(findSuperJournal(file)),
  );
  return named !== undefined && path.basename(named) === path.basename(superJournal);
}

/**
 * Where a file may be that an application has opened by this path: there, or in the tree, whatever the mount point was
 * called where the application ran (in a container, say).
 */
function placesOf(tree: TreeDoor, applicationPath: string): Place[] {
  const parts = applicationPath.split('/').filter((part) => part !== '');
  if (parts.includes('..')) return [];
  const inTree = parts.map((_, i) => ({ name: parts.slice(i).join('/') }));
  if (!applicationPath.startsWith('/')) return inTree;
  const ownPath = `${byteString(tree.dir)}/`;
  const outside = { outside: applicationPath };
  if (!applicationPath.startsWith(ownPath)) return [...inTree, outside];
  return [...inTree, { name: applicationPath.slice(ownPath.length) }];
}

/** Calls back with a journal whose transaction has not ended; undefined when there is none. */
function withHotJournal<T>(
  tree: TreeDoor,
  journal: Place,
  flags: number,
  use: (fd: number, file: JournalFile) => T | undefined,
): T | undefined {
  return withFile(tree, journal, flags, (fd) => {
    const read = (offset: number, length: number) => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, fs.readSync(fd, bytes, 0, length, offset));
    };
    const [first = 0] = read(0, 1);
    return first === 0 ? undefined : use(fd, { size: fs.fstatSync(fd).size, read });
  });
}

/** Calls back with an open file; undefined when there is none. */
function withFile<T>(
  tree: TreeDoor,
  place: Place,
  flags: number,
  use: (fd: number) => T | undefined,
): T | undefined {
  if (!isFile(tree, place)) return undefined;
  const fd =
    'name' in place
      ? tree.open(place.name, flags)
      : fs.openSync(bytesOf(place.outside), flags | O_NOFOLLOW | O_NONBLOCK);
  if (fd === undefined) return undefined;
  try {
    return use(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** A name may be made up: one that cannot be looked at (too long, say) leads to nothing. */
function isFile(tree: TreeDoor, place: Place): boolean {
  try {
    return 'name' in place
      ? tree.hasFile(place.name)
      : fs.lstatSync(bytesOf(place.outside)).isFile();
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    return false;
  }
}

/** As a byte string, and as SQLite reads it: up to its first NUL. '' for none. */
function nameIn(found: ReturnType<typeof findSuperJournal>): string {
  return (found?.name.toString('latin1') ?? '').split('\0', 1)[0];
}

function bytesOf(path: string): Buffer {
  return Buffer.from(path, 'latin1');
}

/** A path of ours as bytes: what applications name need not be UTF-8. */
function byteString(text: string): string {
  return Buffer.from(text).toString('latin1');
}
