/** Reads all of an archive as restores would, and tells what is wrong with it. */
import { LiteFsError } from '../errors.ts';
import { formatTxid } from '../ltx/position.ts';
import type { Archive } from './archive.ts';
import { type ArchiveFile, SNAPSHOT_LEVEL } from './archive-file.ts';
import { checkFile, writeImage } from './image.ts';
import { unreachedFiles } from './plan.ts';
import { noteVerified } from './verified.ts';

export interface ArchiveVerdict {
  readonly files: number;
  readonly bytes: number;
  /** What is wrong with files; each begins with the path. */
  readonly damaged: readonly string[];
  /** Files that nothing leads to, as others are gone; each begins with the path. */
  readonly missing: readonly string[];
}

/**
 * Throws DISK when the archive as a whole cannot be read. `nowMs`: since 1970; snapshots that are whole are noted as read
 * then.
 */
export function verifyArchive(archive: Archive, nowMs: number): ArchiveVerdict {
  const files = archive.list();
  const whole: ArchiveFile[] = [];
  const damaged = files.flatMap((file) => {
    const damage = damageOf(archive, file);
    if (damage === undefined && file.level === SNAPSHOT_LEVEL) whole.push(file);
    return damage ?? [];
  });
  noteVerified(archive, whole, 'quick', nowMs);
  const missing = unreachedFiles(files).map(({ file, reached }) => {
    const between = `${formatTxid(reached + 1)} to ${formatTxid(file.minTxid - 1)}`;
    return `${archive.pathOf(file)} is of no use: no file has the transactions ${between}`;
  });
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { files: files.length, bytes, damaged, missing };
}

/** What is wrong with one, with its path in front. */
function damageOf(archive: Archive, file: ArchiveFile): string | undefined {
  const where = archive.pathOf(file);
  try {
    const isSnapshot = file.level === SNAPSHOT_LEVEL;
    const { minTxid, maxTxid } = isSnapshot ? writeImage([where], undefined) : checkFile(where);
    if (minTxid === file.minTxid && maxTxid === file.maxTxid) return undefined;
    const range = `${formatTxid(minTxid)} to ${formatTxid(maxTxid)}`;
    return `${where} has the transactions ${range}, which is not what its name says`;
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
    return error.message.startsWith(where) ? error.message : `${where} ${error.message}`;
  }
}
