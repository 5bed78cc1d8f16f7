/**
 * A folder that only we can look into, for copies that SQLite opens by their path. SQLite resolves a path by itself, and
 * follows what it finds: so no component of it may be another user's. Default: in /var/tmp, which is on a disk.
 */
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../../errors.ts';
import { openFolder } from '../../os/walk.ts';
import { removeAtEnd } from '../janitor.ts';

const USUAL = '/var/tmp';

/** Calls back with the folder, which is removed in the end, however that comes. Throws USAGE, WRONG_STATE, DISK. */
export async function withScratch<T>(use: (dir: string) => T | Promise<T>): Promise<T> {
  const { folder, changeable } = openFolder(path.resolve(process.env.TMPDIR || USUAL));
  const base = folder.path;
  folder.close();
  if (changeable !== undefined) {
    throw new LiteFsError(
      'USAGE',
      `${base} is not safe: others than root can change ${changeable}`,
      {
        hint: 'Name another folder, in which nobody else can rename what is not theirs: TMPDIR=/var/tmp',
      },
    );
  }
  const dir = fs.mkdtempSync(path.join(base, 'litefs-lite-'));
  const dismiss = removeAtEnd(dir);
  try {
    return await use(dir);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
    dismiss();
  }
}
