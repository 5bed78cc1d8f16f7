/** When increments are merged: once a window of time is over, its files become one, a level higher. Pure. */
import { type ArchiveFile, byAge } from './archive-file.ts';

/** Level and length of its windows, which are aligned to 1970. A day is then 24 files, an hour 12, 5 minutes 30. */
export const MERGE_LEVELS = [
  { level: 1, windowMs: 5 * 60_000 },
  { level: 2, windowMs: 60 * 60_000 },
] as const;

/**
 * Groups of files of lower levels that can become one of `level` at `nowMs`, oldest first: two or more, each following the
 * one before.
 */
export function dueMerges(
  files: readonly ArchiveFile[],
  { level, windowMs }: (typeof MERGE_LEVELS)[number],
  nowMs: number,
): ArchiveFile[][] {
  const merged = files.filter((file) => file.level === level);
  const reached = Math.max(0, ...merged.map(({ maxTxid }) => maxTxid));
  const windows = new Map<number, ArchiveFile[]>();
  for (const file of files) {
    if (file.level >= level || file.maxTxid <= reached) continue;
    const window = Math.floor(file.timestampMs / windowMs);
    if ((window + 1) * windowMs > nowMs) continue;
    windows.set(window, [...(windows.get(window) ?? []), file]);
  }
  return [...windows.entries()]
    .sort(([a], [b]) => a - b)
    .flatMap(([, own]) => chains(own))
    .filter((inputs) => inputs.length > 1);
}

/** Files in groups in which each continues the one before exactly; where several could, the longest is taken. */
function chains(files: readonly ArchiveFile[]): ArchiveFile[][] {
  const result: ArchiveFile[][] = [];
  let left = [...files].sort((a, b) => a.minTxid - b.minTxid || byAge(b, a));
  while (left.length > 0) {
    const chain = [left[0]];
    for (const file of left) {
      if (file.minTxid === chain[chain.length - 1].maxTxid + 1) chain.push(file);
    }
    const end = chain[chain.length - 1].maxTxid;
    result.push(chain);
    left = left.filter(({ maxTxid }) => maxTxid > end);
  }
  return result;
}
