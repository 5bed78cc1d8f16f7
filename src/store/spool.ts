/** Files of the spool that are of no use any more. The folder is emptied at each start. */
import fs from 'node:fs';

/** Removes one, if the disk lets us: what it does not take away now goes at the next start, and must not end anything. */
export function removeSpooled(path: string): void {
  try {
    fs.rmSync(path, { force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).errno === undefined) throw error;
  }
}
