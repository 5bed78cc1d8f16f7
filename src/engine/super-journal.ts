/**
 * Before mounting: transactions over several databases that an unclean stop has interrupted.
 *
 * The journal of each database names a super-journal, whose removal is the commit of all. While it exists, all are to be
 * rolled back. SQLite looks for it by the path that it had in the mount, finds nothing there now, and would keep what
 * happens to be written. So the name is taken out of each journal whose super-journal is in the tree: what is left is an
 * ordinary hot journal. The super-journal goes last of all, when no journal names it any more: a crash in between changes
 * nothing.
 */
import fs from 'node:fs';
import path from 'node:path';
import { findSuperJournal, type JournalFile } from '../sqlite/journal-format.ts';
import { treePath } from '../store/layout.ts';
import { syncDirectory } from '../store/log-files.ts';

/** As SQLite names them: after the main database of the connection, and at random. */
const SUPER_NAME = /-mj[0-9A-F]+$/;

/**
 * Makes the hot journal of a database one that SQLite rolls back, if it belongs to a transaction over several that was
 * not committed: returns its super-journal, a path of the file system as a byte string. Otherwise nothing is done.
 * @param name the database, in the tree
 */
export function leaveSuperJournal(tree: string, name: string): string | undefined {
  return withHotJournal(treePath(tree, `${name}-journal`), 'r+', (fd, file) => {
    const found = findSuperJournal(file);
    const named = found?.name.toString('latin1') ?? '';
    if (!found || !SUPER_NAME.test(named)) return undefined;
    const superJournal = placesOf(tree, named).find(isFile);
    if (superJournal === undefined) return undefined;
    fs.ftruncateSync(fd, found.offset);
    fs.fsyncSync(fd);
    return superJournal;
  });
}

/** Removes a super-journal of the tree, unless a database that was not recovered here still needs it. */
export function removeSuperJournal(tree: string, superJournal: string): void {
  if (!superJournal.startsWith(byteString(`${tree}/`))) return;
  const file = Buffer.from(superJournal, 'latin1');
  const journals = fs.readFileSync(file, 'latin1').split('\0');
  const isNeeded = journals
    .filter((journal) => journal !== '')
    .flatMap((journal) => placesOf(tree, journal))
    .some((journal) => names(journal, superJournal));
  if (isNeeded) return;
  fs.rmSync(file, { force: true });
  syncDirectory(Buffer.from(path.dirname(superJournal), 'latin1'));
}

/** Whether the file is a hot journal with that super-journal. */
function names(journal: string, superJournal: string): boolean {
  const named = withHotJournal(Buffer.from(journal, 'latin1'), 'r', (_, file) =>
    findSuperJournal(file)?.name.toString('latin1'),
  );
  return named !== undefined && path.basename(named) === path.basename(superJournal);
}

/**
 * Where a file may be that an application has opened by this path: there, or in the tree, whatever the mount point was
 * called where the application ran (in a container, say).
 */
function placesOf(tree: string, applicationPath: string): string[] {
  const parts = applicationPath.split('/').filter((part) => part !== '');
  if (parts.includes('..')) return [];
  const inTree = parts.map((_, i) => `${byteString(tree)}/${parts.slice(i).join('/')}`);
  return applicationPath.startsWith('/') ? [...inTree, applicationPath] : inTree;
}

/** Calls back with a journal whose transaction has not ended; undefined when there is none. */
function withHotJournal<T>(
  journal: Buffer,
  flags: 'r' | 'r+',
  use: (fd: number, file: JournalFile) => T | undefined,
): T | undefined {
  if (!isFile(journal.toString('latin1'))) return undefined;
  const fd = fs.openSync(journal, flags);
  try {
    const read = (offset: number, length: number) => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, fs.readSync(fd, bytes, 0, length, offset));
    };
    const [first = 0] = read(0, 1);
    return first === 0 ? undefined : use(fd, { size: fs.fstatSync(fd).size, read });
  } finally {
    fs.closeSync(fd);
  }
}

function isFile(name: string): boolean {
  const stat = fs.lstatSync(Buffer.from(name, 'latin1'), { throwIfNoEntry: false });
  return stat?.isFile() ?? false;
}

/** A path of ours as bytes: what applications name need not be UTF-8. */
function byteString(text: string): string {
  return Buffer.from(text).toString('latin1');
}
