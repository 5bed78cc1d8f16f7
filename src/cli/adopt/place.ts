/** Where in the mount a database goes, so that its application can work there. */
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../../errors.ts';
import type { NodeReport } from '../../http/info.ts';
import { fileRole, LAG_FILE, POSITION_SUFFIX, PRIMARY_FILE } from '../../mount/names.ts';
import { mountAt } from '../../os/mounts.ts';
import { SIDE_FILES } from './names.ts';

const ROOT = 0;

/**
 * The name that was asked for, or else that of the file; below a folder of its own when its owner could make no journals
 * in the mount's root. Throws USAGE for a name that cannot be, WRONG_STATE when it exists or its owner could not work.
 */
export function placeFor(file: string, owner: fs.Stats, node: NodeReport, as?: string): string {
  const name = as ?? usualName(file, owner, node.path);
  const mounted = path.join(node.path, name);
  if (!isDatabaseName(name)) {
    throw new LiteFsError('USAGE', `${name} is no name for a database in the mount`, {
      hint: 'It is a path below the mount, such as app.db or blog/app.db.',
    });
  }
  for (const suffix of ['', ...SIDE_FILES]) {
    if (!fs.lstatSync(mounted + suffix, { throwIfNoEntry: false })) continue;
    throw new LiteFsError('WRONG_STATE', `${mounted}${suffix} exists already`, {
      hint: 'Take another name: --as NAME',
    });
  }
  if (owner.uid !== ROOT && !mountAt(node.path)?.options.includes('allow_other')) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${node.path} is for the daemon’s user alone, and ${file} belongs to ${owner.uid}`,
      {
        hint: 'Write fuse.allow-other: true, then: systemctl restart litefs-lite',
      },
    );
  }
  const folder = nearestExisting(path.dirname(mounted));
  if (folder === path.dirname(mounted) && !mayWrite(fs.statSync(folder), owner)) {
    throw new LiteFsError(
      'WRONG_STATE',
      `user ${owner.uid}, to whom ${file} belongs, can make no journal in ${folder}`,
      {
        hint: `Take a folder that does not exist, which will be that user's: --as ${path.basename(path.dirname(file))}/${path.basename(file)}`,
      },
    );
  }
  return name;
}

/** Makes the folders above it, as the original's folder is. Returns those that were made, the outermost first. */
export function makeFolders(mounted: string, like: fs.Stats): string[] {
  const missing: string[] = [];
  for (let dir = path.dirname(mounted); !fs.existsSync(dir); dir = path.dirname(dir)) {
    missing.unshift(dir);
  }
  for (const dir of missing) {
    fs.mkdirSync(dir);
    fs.chownSync(dir, like.uid, like.gid);
    fs.chmodSync(dir, like.mode & 0o7777);
  }
  return missing;
}

function usualName(file: string, owner: fs.Stats, root: string): string {
  const base = path.basename(file);
  if (mayWrite(fs.statSync(root), owner)) return base;
  return path.join(path.basename(path.dirname(file)), base);
}

function isDatabaseName(name: string): boolean {
  if (path.isAbsolute(name) || path.normalize(name) !== name || /(^|\/)\.\.(\/|$)|\/$/.test(name)) {
    return false;
  }
  const isVirtual = name === PRIMARY_FILE || name === LAG_FILE || name.endsWith(POSITION_SUFFIX);
  return name !== '.' && !isVirtual && fileRole(name).companion === undefined;
}

/** Whether the file's owner may make files in a folder; as far as its group is that of the file. */
export function mayWrite(folder: fs.Stats, owner: Pick<fs.Stats, 'uid' | 'gid'>): boolean {
  if (owner.uid === ROOT) return true;
  const shift = folder.uid === owner.uid ? 6 : folder.gid === owner.gid ? 3 : 0;
  return ((folder.mode >> shift) & 0o3) === 0o3;
}

function nearestExisting(dir: string): string {
  let at = dir;
  while (!fs.existsSync(at)) at = path.dirname(at);
  return at;
}
