/**
 * Files of an archive: LTX v3, in the folders that Litestream 0.5 uses for a replica in a directory.
 *
 *     <snapshots.dir>/<database>/ltx/<level>/<min TXID>-<max TXID>.ltx
 *
 * Level 9 holds snapshots, whole databases (their min TXID is 1). Level 0 holds increments as they were cut, levels 1 and
 * 2 increments merged, so that a restore opens few files. Levels 3 to 8 are Litestream's. A file of a lower level says nothing
 * that the files it was merged from did not say: each alone is enough.
 */
import path from 'node:path';
import { ltxFileName, parseLtxFileName } from '../ltx/names.ts';

export const SNAPSHOT_LEVEL = 9;
/** Levels below the snapshots; those from 3 on are read only. */
export const INCREMENT_LEVELS = [0, 1, 2, 3, 4, 5, 6, 7, 8] as const;

export interface ArchiveFile {
  readonly level: number;
  readonly minTxid: number;
  readonly maxTxid: number;
  /** ms since 1970: of the last transaction in it; of a snapshot, when it was cut, where that is not known. */
  readonly timestampMs: number;
  readonly bytes: number;
  /** The file's own time is another: the header may be damaged. (Or it was copied by a program that gives files new times.) */
  readonly isTimeDoubtful?: true;
}

/** Its path below the database's folder. */
export function archivePath(file: Pick<ArchiveFile, 'level' | 'minTxid' | 'maxTxid'>): string {
  return path.join(levelPath(file.level), ltxFileName(file.minTxid, file.maxTxid));
}

export function levelPath(level: number): string {
  return path.join('ltx', `${level}`);
}

/** TXIDs of a file's name; undefined for a name that is not ours. */
export const archiveFileTxids = parseLtxFileName;

/** Oldest first; of two that end together, the one that begins earlier first. */
export function byAge(a: ArchiveFile, b: ArchiveFile): number {
  return a.maxTxid - b.maxTxid || a.minTxid - b.minTxid || b.level - a.level;
}
