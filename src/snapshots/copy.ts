/** A snapshot in a second place. */
import fs from 'node:fs';
import { LiteFsError } from '../errors.ts';
import { type Archive, onDisk } from './archive.ts';
import { type ArchiveFile, SNAPSHOT_LEVEL } from './archive-file.ts';
import { checkFile } from './image.ts';

/** Copies the newest snapshot of an archive into another, where it is read again. Throws DISK, LTX_CORRUPT, RESTORE_POINT. */
export function copyNewestSnapshot(from: Archive, to: Archive): ArchiveFile {
  const newest = from.list().findLast(({ level }) => level === SNAPSHOT_LEVEL);
  if (!newest) throw new LiteFsError('RESTORE_POINT', `there is no snapshot in ${from.root}`);
  const temporary = to.temporary(SNAPSHOT_LEVEL);
  try {
    onDisk(temporary, () => fs.copyFileSync(from.pathOf(newest), temporary));
    const { timestampMs } = onDisk(temporary, () => checkFile(temporary));
    return to.commit(temporary, { ...newest, timestampMs });
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}
