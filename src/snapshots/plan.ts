/** Which files of an archive make a wanted state. Pure: over what lies there, without opening it. */
import { LiteFsError } from '../errors.ts';
import { formatTxid } from '../ltx/position.ts';
import { type ArchiveFile, byAge } from './archive-file.ts';
import { formatTime } from './when.ts';

export type Target =
  | { readonly kind: 'latest' }
  /** The last state at or before that time, ms since 1970. */
  | { readonly kind: 'time'; readonly timeMs: number }
  | { readonly kind: 'txid'; readonly txid: number };

export interface RestorePlan {
  /** The state that is made. */
  readonly txid: number;
  readonly timestampMs: number;
  /** A file that holds all pages, then those that follow; each may begin before the one before it ends. */
  readonly files: readonly ArchiveFile[];
}

/** A state that can be restored. */
export interface RestorePoint {
  readonly txid: number;
  readonly timestampMs: number;
}

/** Points that follow one another without a gap. */
export interface RestoreRange {
  readonly first: RestorePoint;
  readonly last: RestorePoint;
  readonly points: number;
  readonly files: number;
  readonly bytes: number;
}

/**
 * The plan with the fewest files after the newest usable base.
 * @throws LiteFsError RESTORE_POINT when no files make that state; the hint names the nearest ones
 */
export function planRestore(files: readonly ArchiveFile[], target: Target): RestorePlan {
  const points = restorePoints(files);
  const wanted =
    target.kind === 'txid'
      ? points.filter(({ txid }) => txid === target.txid)
      : points.filter(
          ({ timestampMs }) => target.kind === 'latest' || timestampMs <= target.timeMs,
        );
  for (const point of wanted.reverse()) {
    const chain = chainTo(files, point.txid);
    if (chain) return { ...point, files: chain };
  }
  throw noSuchPoint(target, points);
}

/** All states that some files make, oldest first. */
export function restorePoints(files: readonly ArchiveFile[]): RestorePoint[] {
  return reach(files).points;
}

/** A file that no other leads to: what is between is missing. */
export interface Unreached {
  readonly file: ArchiveFile;
  /** The last state before it; 0: none. */
  readonly reached: number;
}

/** Files of no use, oldest first. One that is missing at the end, or where others say the same, cannot be told. */
export function unreachedFiles(files: readonly ArchiveFile[]): Unreached[] {
  return reach(files).unreached;
}

function reach(files: readonly ArchiveFile[]) {
  const points: RestorePoint[] = [];
  const unreached: Unreached[] = [];
  for (const file of [...files].sort(byAge)) {
    const { minTxid, maxTxid, timestampMs } = file;
    const known = points.at(-1);
    // A file continues from any state from minTxid - 1 on.
    const isReachable = minTxid === 1 || (known !== undefined && known.txid >= minTxid - 1);
    if (!isReachable) unreached.push({ file, reached: known?.txid ?? 0 });
    else if (known?.txid !== maxTxid) points.push({ txid: maxTxid, timestampMs });
    else if (timestampMs < known.timestampMs)
      points[points.length - 1] = { txid: maxTxid, timestampMs };
  }
  return { points, unreached };
}

/** All states, gathered where increments lead from one to the next, or past it: a snapshot may lie within one. */
export function restoreRanges(files: readonly ArchiveFile[]): RestoreRange[] {
  const newestFirst = files.filter(({ minTxid }) => minTxid > 1).sort((a, b) => byAge(b, a));
  const ranges: { points: RestorePoint[] }[] = [];
  /** Where the earliest increment begins of those that end with the point after this one, or later. */
  let begin = Number.POSITIVE_INFINITY;
  let taken = 0;
  for (const point of restorePoints(files).reverse()) {
    const range = ranges.at(-1);
    if (range && begin <= point.txid + 1) range.points.push(point);
    else ranges.push({ points: [point] });
    for (; newestFirst[taken]?.maxTxid >= point.txid; taken++) {
      begin = Math.min(begin, newestFirst[taken].minTxid);
    }
  }
  ranges.reverse();
  return ranges.map(({ points: [last, ...rest] }) => {
    const first = rest.at(-1) ?? last;
    const own = files.filter(({ maxTxid }) => maxTxid >= first.txid && maxTxid <= last.txid);
    const bytes = own.reduce((sum, file) => sum + file.bytes, 0);
    return { first, last, points: rest.length + 1, files: own.length, bytes };
  });
}

/** A base and what leads from it to exactly `txid`; newest base first. undefined when there is none. */
function chainTo(files: readonly ArchiveFile[], txid: number): ArchiveFile[] | undefined {
  const usable = files.filter(({ maxTxid }) => maxTxid <= txid).sort(byAge);
  const bases = usable.filter(({ minTxid }) => minTxid === 1);
  for (const base of bases.reverse()) {
    const chain = [base];
    let reached = base.maxTxid;
    while (reached < txid) {
      const next = furthest(usable, reached);
      if (!next) break;
      chain.push(next);
      reached = next.maxTxid;
    }
    if (reached === txid) return chain;
  }
  return undefined;
}

/** Of the files that continue from `reached`, the one that leads furthest, as that needs the fewest in all; the smallest of these. */
function furthest(sorted: readonly ArchiveFile[], reached: number): ArchiveFile | undefined {
  let best: ArchiveFile | undefined;
  for (const file of sorted) {
    if (file.minTxid > reached + 1 || file.maxTxid <= reached) continue;
    const isBetter =
      !best ||
      file.maxTxid > best.maxTxid ||
      (file.maxTxid === best.maxTxid && file.bytes < best.bytes);
    if (isBetter) best = file;
  }
  return best;
}

function noSuchPoint(target: Target, points: readonly RestorePoint[]): LiteFsError {
  if (points.length === 0) {
    return new LiteFsError('RESTORE_POINT', 'there is no snapshot yet', {
      hint: 'litefs-lite snapshot cuts one now.',
    });
  }
  const said = ({ txid, timestampMs }: RestorePoint) =>
    `${formatTxid(txid)} (${formatTime(timestampMs)})`;
  const first = points[0];
  if (target.kind === 'time') {
    const time = formatTime(target.timeMs);
    return new LiteFsError('RESTORE_POINT', `nothing that old is kept: ${time}`, {
      hint: `The oldest state is ${said(first)}.`,
    });
  }
  const txid = target.kind === 'txid' ? target.txid : 0;
  const before = points.findLast((point) => point.txid < txid);
  const behind = points.find((point) => point.txid > txid);
  const nearest = [before, behind].filter((point) => point !== undefined).map(said);
  return new LiteFsError('RESTORE_POINT', `no files make the state at ${formatTxid(txid)}`, {
    hint: `The nearest: ${nearest.join(' and ')}.`,
  });
}
