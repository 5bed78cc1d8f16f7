/** What is told of an archive, over HTTP and on a terminal. Pure. */
import { formatTxid } from '../ltx/position.ts';
import { SNAPSHOT_LEVEL } from './archive-file.ts';
import { type RestorePoint, restoreRanges } from './plan.ts';
import type { ListedFile } from './verified.ts';

export function describeArchive(name: string, files: readonly ListedFile[]) {
  return {
    name,
    snapshots: files
      .filter(({ level }) => level === SNAPSHOT_LEVEL)
      .map(describeSnapshot)
      .reverse(),
    ranges: restoreRanges(files)
      .map(({ first, last, points, files: count, bytes }) => ({
        from: described(first),
        to: described(last),
        points,
        files: count,
        bytes,
      }))
      .reverse(),
    files: files.length,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

export function describeSnapshot({ maxTxid, timestampMs, bytes, verified }: ListedFile) {
  return { ...described({ txid: maxTxid, timestampMs }), bytes, verified: verified ?? null };
}

function described({ txid, timestampMs }: RestorePoint) {
  return { txid: formatTxid(txid), at: new Date(timestampMs).toISOString() };
}
