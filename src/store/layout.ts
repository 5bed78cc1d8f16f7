/**
 * Where things lie below `data.dir`. Nothing else in the program spells these names, but ../data-folders.ts the folders'.
 *
 *     tree/                  mirror of the mount: databases, -wal, -shm, -journal, other files
 *     ltx/<db>/              the log of transactions: <min>-<max>.ltx and, of many small ones, <min>.seg
 *     state/<db>.sums        page checksums (page-sums-file.ts)
 *     state/<db>.json        the marker of a clean stop (marker.ts)
 *     state/<db>.owner       to whom it belongs on the primary (ownership.ts)
 *     state/<db>.aside       why it is in quarantine (../engine/quarantine.ts)
 *     state/<db>.image       what becomes it, or a part of it, of a new database (../engine/apply/new-database.ts)
 *     divergence/<db>/       what a replica had that the primary did not
 *     quarantine/            files that could not be understood, moved out of the way
 *     spool/                 parts of transfers; emptied at start
 *     cuts/                  files that come and go while a database file is cut (../mount/cut-marks.ts)
 *     lock                   held by the daemon that runs on this directory
 *     node.json              identity, cluster and term
 *     archives.json          which directories have archives of snapshots (snapshots/place.ts)
 *     snapshot-run.json      until when their schedule was served (snapshots/served-times.ts)
 *
 * `<db>` is the database's path in the mount with every byte outside [A-Za-z0-9._-] as %XX, so that a
 * database in a sub-directory has one flat directory here.
 */
import fs from 'node:fs';
import path from 'node:path';
import { DATA_FOLDERS, type DataFolder, RUN_FOLDERS } from '../data-folders.ts';
import { makeOpenFolder } from '../os/open-folder.ts';

export interface Layout extends Readonly<Record<DataFolder, string>> {
  readonly root: string;
  readonly lock: string;
  readonly node: string;
  readonly archives: string;
  readonly snapshotRun: string;
}

/** The paths below a data directory; makes nothing. */
export function layoutOf(root: string): Layout {
  const folders = DATA_FOLDERS.map((name) => [name, path.join(root, name)]);
  return {
    ...(Object.fromEntries(folders) as Record<DataFolder, string>),
    root,
    lock: path.join(root, 'lock'),
    node: path.join(root, 'node.json'),
    archives: path.join(root, 'archives.json'),
    snapshotRun: path.join(root, 'snapshot-run.json'),
  };
}

/**
 * Makes the directories and empties those that are for a run. The data directory is its owner's alone, also one that was
 * there: the way of users to the tree is the mount.
 */
export function createLayout(layout: Layout): void {
  fs.mkdirSync(layout.root, { recursive: true, mode: OWNER_ALONE });
  const mode = fs.statSync(layout.root).mode & 0o777;
  if ((mode & ~OWNER_ALONE) !== 0) fs.chmodSync(layout.root, OWNER_ALONE);
  for (const name of RUN_FOLDERS) fs.rmSync(layout[name], { recursive: true, force: true });
  // It is the root of the mount.
  makeOpenFolder(layout.tree);
  for (const name of DATA_FOLDERS) fs.mkdirSync(layout[name], { recursive: true });
}

const OWNER_ALONE = 0o700;

/** The longest file name that common file systems take, less room for our suffixes. */
const ENCODED_NAME_BYTES_MAX = 240;

/**
 * The flat file name for a database's path (a byte string). undefined when it would be too long
 * for a file name: such a database cannot be replicated.
 */
export function encodeName(database: string): string | undefined {
  const encoded = database.replace(/[^A-Za-z0-9_-]/g, (char, at: number) =>
    char === '.' && at > 0 ? char : `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  return encoded.length <= ENCODED_NAME_BYTES_MAX ? encoded : undefined;
}

/** The inverse of encodeName. */
export function decodeName(encoded: string): string {
  return encoded.replace(/%([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** A name's bytes as text; what is not UTF-8 has replacement characters in it. */
export function nameText(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}
