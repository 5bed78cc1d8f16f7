/** Which state was the last at a time. When a state was, only its files say: what they say is checked where it decides. */
import { LiteFsError } from '../errors.ts';
import type { Archive } from './archive.ts';
import type { ArchiveFile } from './archive-file.ts';
import { checkFile } from './image.ts';
import { restorePoints, type Target } from './plan.ts';

/**
 * The last state at or before `timeMs`. It and the one after it decide that: files of theirs whose time may be wrong are
 * read. One that is damaged tells no time; when the state in it may be the wanted one, there is no answer. The time itself
 * when no state is that old.
 * @throws LiteFsError LTX_CORRUPT, whose message begins with the file at fault
 */
export function lastUntil(
  archive: Archive,
  files: readonly ArchiveFile[],
  timeMs: number,
  { damaged }: { damaged?(message: string): void },
): Target {
  let left = files;
  const known = new Set<ArchiveFile>();
  const lost: { file: ArchiveFile; error: LiteFsError }[] = [];
  for (;;) {
    const txid = chosen(left, timeMs) ?? 0;
    const next = restorePoints(left).find((point) => point.txid > txid)?.txid;
    const doubtful = left.filter(
      (file) =>
        file.isTimeDoubtful && !known.has(file) && (file.maxTxid === txid || file.maxTxid === next),
    );
    for (const file of doubtful) {
      known.add(file);
      const error = damageOf(archive.pathOf(file));
      if (!error) continue;
      damaged?.(error.message);
      lost.push({ file, error });
      left = left.filter((each) => each !== file);
    }
    if (doubtful.length > 0) continue;
    const between = lost.find(
      ({ file }) => file.maxTxid > txid && (next === undefined || file.maxTxid < next),
    );
    if (!between) return txid === 0 ? { kind: 'time', timeMs } : { kind: 'txid', txid };
    throw new LiteFsError('LTX_CORRUPT', between.error.message, {
      hint: 'No other file says when the state in it was. Restore by --txid: litefs-lite snapshots lists what there is.',
      cause: between.error,
    });
  }
}

/** undefined: none is that old. */
function chosen(files: readonly ArchiveFile[], timeMs: number): number | undefined {
  return restorePoints(files).findLast((point) => point.timestampMs <= timeMs)?.txid;
}

function damageOf(file: string): LiteFsError | undefined {
  try {
    checkFile(file);
    return undefined;
  } catch (error) {
    if (error instanceof LiteFsError && error.code === 'LTX_CORRUPT') return error;
    throw error;
  }
}
