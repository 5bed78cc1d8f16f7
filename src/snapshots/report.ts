/** What is told of an archive, over HTTP and on a terminal. Pure. */
import { formatTxid } from '../ltx/position.ts';
import { type ArchiveFile, SNAPSHOT_LEVEL } from './archive-file.ts';
import { type RestorePoint, restoreRanges } from './plan.ts';

export function describeArchive(name: string, files: readonly ArchiveFile[]) {
  return {
    name,
    snapshots: files
      .filter(({ level }) => level === SNAPSHOT_LEVEL)
      .map(describeSnapshot)
      .reverse(),
    ranges: restoreRanges(files)
      .map(({ first, last, points }) => ({ from: described(first), to: described(last), points }))
      .reverse(),
    files: files.length,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

export function describeSnapshot({ maxTxid, timestampMs, bytes }: ArchiveFile) {
  return { ...described({ txid: maxTxid, timestampMs }), bytes };
}

function described({ txid, timestampMs }: RestorePoint) {
  return { txid: formatTxid(txid), at: new Date(timestampMs).toISOString() };
}
