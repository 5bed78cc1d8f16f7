/**
 * What is kept, as backup programs have it: the last few snapshots, and the newest of each of the last hours, days, weeks
 * and months that have one; and every restore point of the last `withinMs`. Pure.
 */
import { type ArchiveFile, SNAPSHOT_LEVEL } from './archive-file.ts';

export interface KeepRules {
  /** How many: 0 for none. */
  readonly last: number;
  readonly hourly: number;
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
  /** How far back every restore point is kept, in ms. */
  readonly withinMs: number;
}

/**
 * Files that may be removed, so that what is left makes every state that the rules keep. The newest snapshot is never
 * among them. `timezone`: an IANA name, in which days begin; undefined for the system's.
 */
export function expiredFiles(
  files: readonly ArchiveFile[],
  rules: KeepRules,
  nowMs: number,
  timezone: string | undefined,
): ArchiveFile[] {
  const snapshots = snapshotsOf(files);
  if (snapshots.length === 0) return [];
  const baseTxid = baseOf(files, rules, nowMs)?.maxTxid ?? 0;
  const kept = new Set([snapshots[0], ...chosen(snapshots, rules, timezone)]);
  return files.filter((file) =>
    file.level === SNAPSHOT_LEVEL
      ? !kept.has(file) && file.maxTxid < baseTxid
      : file.maxTxid <= baseTxid,
  );
}

/** The snapshots on which everything depends that is left when the others go: the newest, and the oldest states' base. */
export function neededSnapshots(
  files: readonly ArchiveFile[],
  rules: KeepRules,
  nowMs: number,
): ArchiveFile[] {
  const needed = [snapshotsOf(files)[0], baseOf(files, rules, nowMs)];
  return [...new Set(needed.filter((file) => file !== undefined))];
}

/** Newest first. */
function snapshotsOf(files: readonly ArchiveFile[]): ArchiveFile[] {
  return files
    .filter(({ level }) => level === SNAPSHOT_LEVEL)
    .sort((a, b) => b.maxTxid - a.maxTxid);
}

/**
 * What makes the states of the last `withinMs`: the newest snapshot from before, and all increments after it. Clocks are
 * set: a snapshot that is stamped as older, but follows something of that time, is no base. What is stamped a little ahead
 * of now is of that time as well; what is far ahead says nothing.
 */
function baseOf(
  files: readonly ArchiveFile[],
  { withinMs }: KeepRules,
  nowMs: number,
): ArchiveFile | undefined {
  const beginMs = nowMs - withinMs;
  const recent = files
    .filter(({ timestampMs }) => timestampMs > beginMs && timestampMs <= nowMs + withinMs)
    .map(({ maxTxid }) => maxTxid);
  const firstRecent = recent.reduce((least, txid) => Math.min(least, txid), Infinity);
  return snapshotsOf(files).find(
    ({ maxTxid, timestampMs }) => timestampMs <= beginMs && maxTxid < firstRecent,
  );
}

/** `snapshots` newest first. */
function chosen(
  snapshots: readonly ArchiveFile[],
  rules: KeepRules,
  timezone: string | undefined,
): ArchiveFile[] {
  const calendar = new Calendar(timezone);
  const periods: [number, (ms: number) => string][] = [
    [rules.hourly, (ms) => calendar.hour(ms)],
    [rules.daily, (ms) => calendar.day(ms)],
    [rules.weekly, (ms) => calendar.week(ms)],
    [rules.monthly, (ms) => calendar.month(ms)],
  ];
  const kept = snapshots.slice(0, rules.last);
  for (const [count, periodOf] of periods) {
    const seen = new Set<string>();
    for (const snapshot of snapshots) {
      const period = periodOf(snapshot.timestampMs);
      if (seen.has(period)) continue;
      if (seen.size === count) break;
      seen.add(period);
      kept.push(snapshot);
    }
  }
  return kept;
}

/** Names of hours, days, ISO weeks and months, as a clock on the wall has them. */
class Calendar {
  readonly #format: Intl.DateTimeFormat;

  constructor(timezone: string | undefined) {
    this.#format = new Intl.DateTimeFormat('en-CA', {
      timeZone: timezone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
    });
  }

  hour(ms: number): string {
    const { year, month, day, hour } = this.#parts(ms);
    // The hour that is there twice when clocks are put back counts as one.
    return `${year}-${month}-${day} ${hour}`;
  }

  day(ms: number): string {
    const { year, month, day } = this.#parts(ms);
    return `${year}-${month}-${day}`;
  }

  /** By the Monday on which it begins. */
  week(ms: number): string {
    const { year, month, day } = this.#parts(ms);
    const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
    date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7));
    return date.toISOString().slice(0, 10);
  }

  month(ms: number): string {
    const { year, month } = this.#parts(ms);
    return `${year}-${month}`;
  }

  #parts(ms: number): Record<string, string> {
    return Object.fromEntries(
      this.#format.formatToParts(ms).map(({ type, value }) => [type, value]),
    );
  }
}
