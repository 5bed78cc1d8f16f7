/** Which files of a log are worth merging into one: a decision over its entries. */
import type { StoredEntry } from './log-files.ts';

/** A run of whole files that may be merged into one. */
export interface CompactionJob {
  readonly entries: readonly StoredEntry[];
  readonly bytes: number;
}

export interface MergeLimits {
  /** From this many entries on a merge is worth it. */
  readonly entriesMin: number;
  /** At most this many, or one file. */
  readonly entriesMax: number;
  readonly bytesMax: number;
}

/**
 * The oldest run of neighbouring closed files within the limits, with one page size and no drop among them. `active`: the
 * file that still grows.
 */
export function nextMerge(
  entries: readonly StoredEntry[],
  active: string | undefined,
  { entriesMin, entriesMax, bytesMax }: MergeLimits,
): CompactionJob | undefined {
  let run: StoredEntry[] = [];
  let bytes = 0;
  for (const group of byFile(entries)) {
    const size = group.reduce((sum, { length }) => sum + length, 0);
    const joins =
      group[0].path !== active &&
      size <= bytesMax &&
      canMerge(group, run.at(-1)?.pageSize ?? group[0].pageSize);
    const tooMuch =
      run.length > 0 && (bytes + size > bytesMax || run.length + group.length > entriesMax);
    if (!joins || tooMuch) {
      if (run.length >= entriesMin) break;
      run = [];
      bytes = 0;
      if (!joins) continue;
    }
    run.push(...group);
    bytes += size;
  }
  return run.length >= entriesMin ? { entries: run, bytes } : undefined;
}

/** The entries of each file, in order. */
function* byFile(entries: readonly StoredEntry[]): Generator<readonly StoredEntry[]> {
  for (let start = 0; start < entries.length; ) {
    let end = start;
    while (end < entries.length && entries[end].path === entries[start].path) end++;
    yield entries.slice(start, end);
    start = end;
  }
}

/** Neither a drop nor another page size among them. */
function canMerge(entries: readonly StoredEntry[], pageSize: number): boolean {
  return entries.every((entry) => entry.commit > 0 && entry.pageSize === pageSize);
}
