/** What is in the backing tree: files that begin like a database. Names are byte strings below the root ('' itself). */
import fs from 'node:fs';
import { isNotAFile, isOutsideFault } from '../../errors.ts';
import { isDatabaseHeader } from '../../sqlite/db-header.ts';
import type { TreeDoor } from '../../store/tree-door.ts';

const MAGIC_BYTES = 16;

/**
 * The databases below `dir`; follows no links. `enter` is called with each directory before it is read: what comes
 * after that, a watch that it sets tells. `unsure` is called when a file cannot be opened to see what it is.
 */
export function scanTree(
  tree: TreeDoor,
  dir = '',
  enter: (dir: string) => void = () => {},
  unsure: (error: unknown) => void = () => {},
): string[] {
  const databases: string[] = [];
  walk(tree, dir, { enter, unsure }, databases);
  return databases;
}

/** Whether the file begins like a database; one that cannot be opened is taken for none, and `unsure` is told. */
export function isDatabaseFile(
  tree: TreeDoor,
  name: string,
  unsure: (error: unknown) => void = () => {},
): boolean {
  let fd: number | undefined;
  try {
    fd = tree.open(name);
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    if (!isNotAFile(error)) unsure(error);
  }
  if (fd === undefined) return false;
  try {
    const head = Buffer.alloc(MAGIC_BYTES);
    return fs.readSync(fd, head, 0, MAGIC_BYTES, 0) === MAGIC_BYTES && isDatabaseHeader(head);
  } finally {
    fs.closeSync(fd);
  }
}

interface Hooks {
  readonly enter: (dir: string) => void;
  readonly unsure: (error: unknown) => void;
}

function walk(tree: TreeDoor, dir: string, hooks: Hooks, databases: string[]): void {
  let entries: fs.Dirent[];
  try {
    hooks.enter(dir);
    entries = tree.list(dir);
  } catch (error) {
    // Applications go on meanwhile, and remove or replace what they have.
    if (dir !== '' && isGone(error)) return;
    throw error;
  }
  for (const entry of entries) {
    const name = dir === '' ? entry.name : `${dir}/${entry.name}`;
    if (entry.isDirectory()) walk(tree, name, hooks, databases);
    else if (entry.isFile() && isDatabaseFile(tree, name, hooks.unsure)) databases.push(name);
  }
}

function isGone(error: unknown): boolean {
  const { code = '' } = error as NodeJS.ErrnoException;
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(code);
}
