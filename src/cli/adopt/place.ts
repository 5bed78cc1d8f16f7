/** Where in the mount a database goes, so that its application can work there. */
import type fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../../errors.ts';
import type { NodeReport } from '../../http/info.ts';
import { nameFault } from '../../mount/names.ts';
import type { Folder, Owner } from '../../os/folder.ts';
import { mountAt } from '../../os/mounts.ts';
import { withFolderIn } from './mounted.ts';
import { type Names, SIDE_FILES } from './names.ts';

const ROOT = 0;

/** A name in the mount. */
export interface Place {
  /** The directories that lead to it, the outermost first. */
  readonly folders: readonly string[];
  readonly base: string;
  /** For messages and for the link. */
  readonly path: string;
}

export function placeOf(node: NodeReport, name: string): Place {
  const parts = name.split('/');
  return {
    folders: parts.slice(0, -1),
    base: parts.at(-1) as string,
    path: path.join(node.path, name),
  };
}

/**
 * The name that was asked for, or else that of the file; below a folder of its own when its owner could make no journals
 * in the mount's root. Throws USAGE for a name that cannot be, WRONG_STATE when it exists or its owner could not work.
 */
export function placeFor(
  names: Names,
  owner: fs.Stats,
  node: NodeReport,
  root: Folder,
  as?: string,
): Place {
  const name = as ?? usualName(names.path, owner, root);
  const fault = nameFault(Buffer.from(name).toString('latin1'));
  if (fault !== undefined) {
    throw new LiteFsError('USAGE', `${name} is no name for a database in the mount: it ${fault}`, {
      hint: 'It is a path below the mount, such as app.db or blog/app.db.',
    });
  }
  const place = placeOf(node, name);
  withFolderIn(root, place.folders, (folder) => {
    if (folder) refuseTaken(folder, place.base);
    if (owner.uid !== ROOT && !mountAt(node.path)?.options.includes('allow_other')) {
      throw new LiteFsError(
        'WRONG_STATE',
        `${node.path} is for the daemon’s user alone, and ${names.path} belongs to ${owner.uid}`,
        {
          hint: 'Write fuse.allow-other: true, then: systemctl restart litefs-lite',
        },
      );
    }
    if (folder && !mayWrite(folder.stat(), owner)) {
      throw new LiteFsError(
        'WRONG_STATE',
        `user ${owner.uid}, to whom ${names.path} belongs, can make no journal in ${folder.path}`,
        {
          hint: `Take a folder that does not exist, which will be that user's: --as ${path.basename(path.dirname(names.path))}/${names.file}`,
        },
      );
    }
  });
  return place;
}

function refuseTaken(folder: Folder, base: string): void {
  for (const suffix of ['', ...SIDE_FILES]) {
    if (!folder.look(base + suffix)) continue;
    throw new LiteFsError('WRONG_STATE', `${folder.at(base + suffix)} exists already`, {
      hint: 'Take another name: --as NAME',
    });
  }
}

function usualName(file: string, owner: fs.Stats, root: Folder): string {
  const base = path.basename(file);
  if (mayWrite(root.stat(), owner)) return base;
  return path.join(path.basename(path.dirname(file)), base);
}

/** Whether the file's owner may make files in a folder; as far as its group is that of the file. */
export function mayWrite(folder: fs.Stats, owner: Owner): boolean {
  if (owner.uid === ROOT) return true;
  const shift = folder.uid === owner.uid ? 6 : folder.gid === owner.gid ? 3 : 0;
  return ((folder.mode >> shift) & 0o3) === 0o3;
}
