/** The `snapshots` section of the config file. */
import { validateDetailed } from 'node-cron';
import { z } from 'zod';
import { Fault } from './fault.ts';
import { duration, flag, parseDuration, scalar, size, text } from './values.ts';

/** A cron expression of five fields, or six with seconds first. */
function parseCron(value: unknown): string | Fault {
  if (typeof value !== 'string') {
    return new Fault('is not a cron expression: write one like "0 3 * * *"');
  }
  // The library makes a list of all numbers of a range before it looks whether they can be.
  const large = /\d{3,}/.exec(value)?.[0];
  if (large) return new Fault(`is not a cron expression (${large} is nothing of a date)`);
  const { errors } = validateDetailed(value);
  if (errors.length === 0) return value;
  const what = errors.map(({ message }) => message).join('; ');
  return new Fault(`is not a cron expression (${what}): write one like "0 3 * * *"`);
}

function parseTimezone(value: unknown): string | Fault {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: `${value}` }).resolvedOptions().timeZone;
  } catch {
    return new Fault('is not a time zone: write one like "Europe/Berlin" or "UTC"');
  }
}

/** ms; 0 for `off`. */
function parseIncrements(value: unknown): number | Fault {
  if (value === 'off' || value === false) return 0;
  const ms = parseDuration(value);
  if (ms instanceof Fault || ms >= INCREMENTS_MS_MIN) return ms;
  return new Fault('is shorter than a second: write "1s" or more, or off');
}

const INCREMENTS_MS_MIN = 1000;

const cron = () => scalar(parseCron, { type: 'string', minLength: 1 });
const count = (preset: number) => z.int().min(0).prefault(preset);

export const snapshots = z
  .preprocess(
    (value) => (value === null ? {} : value),
    z
      .strictObject({
        dir: text()
          .prefault('/var/backups/litefs-lite')
          .describe('Where they are kept: best another disk, or a mounted NFS or SMB share.'),
        schedule: z
          .preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(cron()))
          .prefault(['0 3 * * *'])
          .meta({
            orText: true,
            description:
              'When snapshots are cut: a cron expression or a list of them; with six fields the first is seconds.',
          }),
        timezone: scalar(parseTimezone, { type: 'string', minLength: 1 })
          .optional()
          .describe("In which the schedule and the days of `keep` are. Default: the system's."),
        databases: z
          .array(text())
          .optional()
          .describe('Names or patterns with *. Default: all databases.'),
        on: z
          .enum(['primary', 'replica', 'any'])
          .prefault('primary')
          .describe('Which nodes cut them.'),
        increments: scalar(parseIncrements, { type: 'string', minLength: 1 })
          .prefault('10s')
          .describe('How far apart restore points between snapshots are; off: only snapshots.'),
        verify: z
          .enum(['full', 'quick', 'off'])
          .prefault('full')
          .describe(
            'Each snapshot is read back before it counts. full: restored, with PRAGMA integrity_check; quick: its checksums.',
          ),
        compress: flag().prefault(true).describe('Compress pages (LZ4).'),
        rate: size()
          .prefault('0')
          .describe(
            'Bytes per second that are read of databases, and of archives that are checked or merged; 0 is no limit.',
          ),
        nice: z
          .int()
          .min(0)
          .max(19)
          .prefault(10)
          .describe(
            'The nice value of the thread that does it: the higher, the more others come first.',
          ),
        keep: z
          .preprocess(
            (value) => value ?? {},
            z.strictObject({
              last: count(3).describe('The last snapshots.'),
              hourly: count(24).describe('The newest of each of the last hours that have one.'),
              daily: count(7).describe('The same for days.'),
              weekly: count(4).describe('The same for weeks.'),
              monthly: count(12).describe('The same for months.'),
              within: duration()
                .prefault('48h')
                .describe('How far back every restore point is kept.'),
            }),
          )
          .prefault({})
          .describe('What is kept. The newest snapshot always is.'),
        pre: text()
          .optional()
          .describe('A shell command before a scheduled run; when it fails, the run fails.'),
        post: text()
          .optional()
          .describe('A shell command after one, with the result in LITEFS_SNAPSHOT_* variables.'),
        'hook-timeout': duration()
          .prefault('1h')
          .describe('How long pre and post may take, each: then all that they started is ended.'),
      })
      .optional(),
  )
  .describe('Snapshots on a schedule, and restore points between them. Without it there are none.');

/** The section as the program uses it. */
export interface SnapshotConfig {
  readonly dir: string;
  readonly schedule: readonly string[];
  readonly timezone: string | undefined;
  /** undefined: all. */
  readonly databases: readonly string[] | undefined;
  readonly on: 'primary' | 'replica' | 'any';
  /** 0: none between snapshots. */
  readonly incrementsMs: number;
  readonly verify: 'full' | 'quick' | 'off';
  readonly compress: boolean;
  /** Bytes per second; 0: no limit. */
  readonly rateMax: number;
  /** Of the snapshot thread, 0 … 19. */
  readonly nice: number;
  readonly keep: {
    readonly last: number;
    readonly hourly: number;
    readonly daily: number;
    readonly weekly: number;
    readonly monthly: number;
    readonly withinMs: number;
  };
  readonly pre: string | undefined;
  readonly post: string | undefined;
  /** How long pre and post may take, each. */
  readonly hookMsMax: number;
}

/** How many files of increments, those that are not merged, a database has that is written all the time. */
export function incrementsMax({ incrementsMs, keep }: SnapshotConfig): number {
  return incrementsMs === 0 ? 0 : Math.ceil(keep.withinMs / incrementsMs);
}

/** `dir` is what the directory is relative to. */
export function resolveSnapshots(
  section: z.output<typeof snapshots>,
  resolveDir: (dir: string) => string,
): SnapshotConfig | undefined {
  if (section === undefined) return undefined;
  const { dir, increments, rate, keep, 'hook-timeout': hookMsMax, ...rest } = section;
  const { within, ...counts } = keep;
  return {
    ...rest,
    dir: resolveDir(dir),
    incrementsMs: increments,
    rateMax: rate,
    keep: { ...counts, withinMs: within },
    timezone: section.timezone,
    databases: section.databases,
    pre: section.pre,
    post: section.post,
    hookMsMax,
  };
}
