/** What is in the backing tree: files that begin like a database. Names are byte strings below the root ('' itself). */
import fs from 'node:fs';
import { isDatabaseHeader } from '../sqlite/db-header.ts';
import { treePath } from '../store/layout.ts';

const MAGIC_BYTES = 16;

/**
 * The databases below `dir`; follows no links. `enter` is called with each directory before it is read: what comes
 * after that, a watch that it sets tells. `unsure` is called when a file cannot be opened to see what it is.
 */
export function scanTree(
  root: string,
  dir = '',
  enter: (dir: string) => void = () => {},
  unsure: () => void = () => {},
): string[] {
  const databases: string[] = [];
  walk(root, dir, { enter, unsure }, databases);
  return databases;
}

/** Whether the file begins like a database; one that cannot be opened is taken for none, and `unsure` is told. */
export function isDatabaseFile(root: string, name: string, unsure: () => void = () => {}): boolean {
  let fd: number;
  try {
    const flags = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;
    fd = fs.openSync(treePath(root, name), flags);
  } catch (error) {
    if (!isGone(error)) unsure();
    return false;
  }
  try {
    const head = Buffer.alloc(MAGIC_BYTES);
    if (!fs.fstatSync(fd).isFile()) return false;
    return fs.readSync(fd, head, 0, MAGIC_BYTES, 0) === MAGIC_BYTES && isDatabaseHeader(head);
  } finally {
    fs.closeSync(fd);
  }
}

interface Hooks {
  readonly enter: (dir: string) => void;
  readonly unsure: () => void;
}

function walk(root: string, dir: string, hooks: Hooks, databases: string[]): void {
  let entries: fs.Dirent[];
  try {
    hooks.enter(dir);
    entries = fs.readdirSync(dir === '' ? Buffer.from(root) : treePath(root, dir), {
      withFileTypes: true,
      encoding: 'latin1',
    } as { withFileTypes: true; encoding: 'latin1' });
  } catch (error) {
    // Applications go on meanwhile, and remove what they have.
    if (dir !== '' && isGone(error)) return;
    throw error;
  }
  for (const entry of entries) {
    const name = dir === '' ? entry.name : `${dir}/${entry.name}`;
    if (entry.isDirectory()) walk(root, name, hooks, databases);
    else if (entry.isFile() && isDatabaseFile(root, name, hooks.unsure)) databases.push(name);
  }
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
