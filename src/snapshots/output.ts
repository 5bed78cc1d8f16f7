/** Where a command may make a database file. */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, isOutsideFault, LiteFsError } from '../errors.ts';
import { parseMountInfo } from '../os/mounts.ts';

/** What SQLite would take for a part of the database that lies beside them. */
export const SIDE_FILES = ['-wal', '-shm', '-journal'];

/**
 * Throws USAGE when a file of that name is not to be made or replaced: it exists and `force` was not said, is no regular
 * file, or is in a mount of ours. DISK when that cannot be seen.
 */
export function checkOutput(output: string, force: boolean): void {
  try {
    refuseOther(output);
    refuseMount(path.dirname(output));
  } catch (error) {
    if (error instanceof LiteFsError || !isOutsideFault(error)) throw error;
    throw new LiteFsError('DISK', `${output} cannot be made: ${errorText(error)}`, {
      cause: error,
    });
  }
  if (force) return;
  for (const suffix of ['', ...SIDE_FILES]) {
    if (!fs.existsSync(output + suffix)) continue;
    throw new LiteFsError('USAGE', `${output}${suffix} exists`, {
      hint: 'Name another file, or add --force to replace it. No program may have it open then.',
    });
  }
}

/** A file takes its name over what is there: a link's, a directory's, or a device's. */
function refuseOther(output: string): void {
  const stat = fs.lstatSync(output, { throwIfNoEntry: false });
  if (!stat || stat.isFile()) return;
  if (stat.isDirectory()) {
    throw new LiteFsError('USAGE', `${output} is a directory`, { hint: 'Name a file in it.' });
  }
  if (stat.isSymbolicLink()) {
    throw new LiteFsError('USAGE', `${output} is a link to ${fs.readlinkSync(output)}`, {
      hint: 'Name another file. What the link of an adopted database leads to: restore --in-place, or import.',
    });
  }
  throw new LiteFsError('USAGE', `${output} is no regular file`, { hint: 'Name another file.' });
}

/** What is made there is a database of all nodes, and what is replaced may be in use. */
function refuseMount(folder: string): void {
  const { dev } = fs.statSync(folder);
  const mounts = parseMountInfo(fs.readFileSync('/proc/self/mountinfo', 'latin1'));
  const ours = mounts.find((mount) => mount.dev === dev && mount.source === 'litefs-lite');
  if (!ours) return;
  throw new LiteFsError('USAGE', `${folder} is in the mount of litefs-lite, ${ours.point}`, {
    hint: 'Make the file elsewhere, then: litefs-lite import DATABASE FILE. Or: restore DATABASE --in-place',
  });
}
