/** A snapshot in a second place. */
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import { type Archive, onDisk } from './archive.ts';
import { type ArchiveFile, SNAPSHOT_LEVEL } from './archive-file.ts';
import { checkFile } from './image.ts';
import { sweepTemporaries } from './temporaries.ts';

/** Copies the newest snapshot of an archive into another, where it is read again. Throws DISK, LTX_CORRUPT, RESTORE_POINT. */
export function copyNewestSnapshot(
  from: Archive,
  to: Archive,
  begun: (temporary: string) => void,
): ArchiveFile {
  const newest = from.list().findLast(({ level }) => level === SNAPSHOT_LEVEL);
  if (!newest) throw new LiteFsError('RESTORE_POINT', `there is no snapshot in ${from.root}`);
  const temporary = to.temporary(SNAPSHOT_LEVEL);
  sweepTemporaries(path.dirname(temporary), /\.tmp$/);
  begun(temporary);
  try {
    onDisk(temporary, () => fs.copyFileSync(from.pathOf(newest), temporary));
    const { timestampMs } = onDisk(temporary, () => checkFile(temporary));
    return to.commit(temporary, { ...newest, timestampMs });
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}
