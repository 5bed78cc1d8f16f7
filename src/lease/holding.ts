/**
 * Whether a data directory holds databases, by what lies in it. It is asked before the engine starts, and by commands
 * beside a running node: it reads only.
 *
 * A database that was dropped leaves a log that ends with the drop. That is no database any more. All else that is
 * known of one counts: its file, a log that goes on, checksums of its pages, the note of a quarantine.
 */
import fs from 'node:fs';
import path from 'node:path';
import { scanTree } from '../engine/files/tree-scan.ts';
import { isOutsideFault } from '../errors.ts';
import type { Layout } from '../store/layout.ts';
import { newestCommit } from '../store/log-files.ts';
import { TreeDoor } from '../store/tree-door.ts';
import type { Holding } from './membership.ts';

/** Files of state/: the name of the database, then what it is. */
const STATE_FILE = /^(.+)\.(sums|json|aside)$/;

/** Also of a directory that is not there: it holds nothing. Never throws for what the disk refuses. */
export function holdingOf(layout: Layout): Holding {
  try {
    if (knowsDatabases(layout)) return 'databases';
    if (list(layout.tree).length === 0) return 'nothing';
    return seen(layout.tree);
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    return 'unknown';
  }
}

/** What is in the tree. Throws a SystemError when it cannot be looked at. */
function seen(dir: string): Holding {
  const tree = new TreeDoor(dir);
  let isSure = true;
  const unsure = () => {
    isSure = false;
  };
  try {
    if (scanTree(tree, '', undefined, unsure).length > 0) return 'databases';
    return isSure ? 'nothing' : 'unknown';
  } finally {
    tree.close();
  }
}

function knowsDatabases({ ltx, state }: Layout): boolean {
  const dropped = new Set<string>();
  for (const name of list(ltx)) {
    const commit = newestCommit(path.join(ltx, name));
    if (commit === 0) dropped.add(name);
    else if (commit !== undefined) return true;
  }
  return list(state).some((file) => {
    const [, name, kind] = STATE_FILE.exec(file) ?? [];
    return name !== undefined && (kind === 'aside' || !dropped.has(name));
  });
}

function list(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
