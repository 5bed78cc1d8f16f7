/** Where the archives are that a command looks into: --dir, or the config file's snapshots.dir. */
import fs from 'node:fs';
import path from 'node:path';
import { findConfigFile, loadConfigAlone, searchPath } from '../config/load.ts';
import { LiteFsError } from '../errors.ts';
import { Archive, archiveFolders, archiveOf } from '../snapshots/archive.ts';
import { decodeName, encodeName, nameText } from '../store/layout.ts';

export interface ArchiveFlags {
  readonly dir?: string;
  readonly config?: string;
}

/** Throws CONFIG when nothing says where they are. */
export function archivesDir({ dir, config: file }: ArchiveFlags): string {
  if (dir !== undefined) return path.resolve(dir);
  const surroundings = { env: process.env, cwd: process.cwd(), expandEnv: true };
  if (file === undefined && findConfigFile(searchPath(surroundings)) === undefined) {
    throw new LiteFsError('CONFIG', 'nothing says where the snapshots are', {
      hint: 'Name their directory, or the config of the node: --dir DIR, or --config FILE',
    });
  }
  const { config, file: named } = loadConfigAlone(file, surroundings);
  if (config.snapshots) return config.snapshots.dir;
  throw new LiteFsError('CONFIG', `${named} has no snapshots section`, {
    hint: 'Say where they are: --dir /var/backups/litefs-lite',
  });
}

/**
 * The archive of a database, or that in a folder of that name; `dir` may also be a replica directory of Litestream's itself.
 * Throws RESTORE_POINT.
 */
export function existingArchive(dir: string, database: string): Archive {
  const archive = archiveOf(dir, bytesOf(database));
  if (archive.exists()) return archive;
  const named = archiveFolders(dir).find((folder) => shownName(folder) === database);
  if (named !== undefined) return new Archive(path.join(dir, named));
  const itself = new Archive(dir);
  if (itself.exists()) return itself;
  const known = archiveFolders(dir).map(shownName);
  throw new LiteFsError('RESTORE_POINT', `there are no snapshots of ${database} in ${dir}`, {
    hint: known.length > 0 ? `There are some of: ${known.join(', ')}` : 'Is it the right --dir?',
  });
}

/** The archive of a database, which need not be there yet. Throws USAGE when the name is too long. */
export function newArchive(dir: string, database: string): Archive {
  return archiveOf(dir, bytesOf(database));
}

/** Names of all archives in `dir`, as existingArchive() takes them. Throws RESTORE_POINT when it is no directory. */
export function databasesIn(dir: string): string[] {
  if (!fs.existsSync(dir)) {
    throw new LiteFsError('RESTORE_POINT', `there is no directory ${dir}`, {
      hint: 'Is the disk mounted? Another place: --dir',
    });
  }
  return archiveFolders(dir).map(shownName);
}

/** The name of a folder's database; the folder's own when that is none, or cannot be typed as it is not UTF-8. */
function shownName(folder: string): string {
  const name = nameText(decodeName(folder));
  return encodeName(bytesOf(name)) === folder ? name : folder;
}

/** Names are byte strings inside (one char per byte), text on the command line. */
function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
