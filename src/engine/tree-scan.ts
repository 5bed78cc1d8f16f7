/** What is in the backing tree: directories, and files that begin like a database. */
import fs from 'node:fs';
import { isDatabaseHeader } from '../sqlite/db-header.ts';
import { treePath } from '../store/layout.ts';

export interface TreeContent {
  /** Paths below the root ('' for the root itself), as byte strings. */
  readonly directories: string[];
  readonly databases: string[];
}

const MAGIC_BYTES = 16;

/** Walks the tree below `dir`; follows no links. */
export function scanTree(root: string, dir = ''): TreeContent {
  const content: TreeContent = { directories: [], databases: [] };
  walk(root, dir, content);
  return content;
}

/** Whether the file begins like a database. */
export function isDatabaseFile(root: string, name: string): boolean {
  let fd: number;
  try {
    const flags = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;
    fd = fs.openSync(treePath(root, name), flags);
  } catch {
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

function walk(root: string, dir: string, content: TreeContent): void {
  content.directories.push(dir);
  const entries = fs.readdirSync(dir === '' ? Buffer.from(root) : treePath(root, dir), {
    withFileTypes: true,
    encoding: 'latin1',
  } as { withFileTypes: true; encoding: 'latin1' });
  for (const entry of entries) {
    const name = dir === '' ? entry.name : `${dir}/${entry.name}`;
    if (entry.isDirectory()) walk(root, name, content);
    else if (entry.isFile() && isDatabaseFile(root, name)) content.databases.push(name);
  }
}
