/** When snapshots are cut: cron expressions, by node-cron. */
import { createTask, parse, type ScheduledTask } from 'node-cron';

/** The next times at which any of the expressions fires, earliest first. */
export function nextTimes(
  expressions: readonly string[],
  timezone: string | undefined,
  count: number,
): Date[] {
  const times = expressions.flatMap((expression) => {
    const task = createTask(expression, () => {}, { timezone });
    task.start();
    const next = task.getNextRuns(count);
    task.destroy();
    return next;
  });
  const unique = new Map(times.map((time) => [time.getTime(), time]));
  return [...unique.values()].sort((a, b) => a.getTime() - b.getTime()).slice(0, count);
}

/** How far back a missed time is looked for. */
const MISSED_MS_MAX = 35 * 86_400_000;
const MINUTE_MS = 60_000;
const DAY_MINUTES = 1440;
/** By how many minutes clocks are set in summer: an hour, half of one in a few places. */
const SHIFTS = [-60, -30, 0, 30, 60];

/** Whether any of the expressions should have fired after `sinceMs` and until `nowMs`. */
export function hasMissed(
  expressions: readonly string[],
  timezone: string | undefined,
  sinceMs: number,
  nowMs: number,
): boolean {
  const beginMs = Math.max(sinceMs, nowMs - MISSED_MS_MAX);
  const offset = minutesAhead(timezone, nowMs);
  return expressions.some((expression) => {
    const task = createTask(expression, () => {}, { timezone });
    const { second, minute, hour } = parse(expression);
    // The library's own look at a time takes long. What is left to it are times of the day that it may take.
    const isLikely = Array.from({ length: DAY_MINUTES }, (_, ofDay) =>
      SHIFTS.some((shift) => {
        const local = (ofDay + offset + shift + 2 * DAY_MINUTES) % DAY_MINUTES;
        return hour.includes(Math.floor(local / 60)) && minute.includes(local % 60);
      }),
    );
    // The last time is the likeliest to be after `sinceMs`.
    for (let at = Math.floor(nowMs / MINUTE_MS); (at + 1) * MINUTE_MS > beginMs; at--) {
      if (!isLikely[at % DAY_MINUTES]) continue;
      const times = second.map((each) => at * MINUTE_MS + each * 1000);
      const ms = times.find((each) => each > beginMs && each <= nowMs);
      if (ms !== undefined && task.match(new Date(ms))) return true;
    }
    return false;
  });
}

/** How many minutes the clocks of a zone are ahead of UTC, up to whole days. */
function minutesAhead(timezone: string | undefined, ms: number): number {
  const format = new Intl.DateTimeFormat('en', {
    timeZone: timezone,
    hourCycle: 'h23',
    hour: 'numeric',
    minute: 'numeric',
  });
  const parts = Object.fromEntries(
    format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]),
  );
  const utc = Math.floor(ms / MINUTE_MS) % DAY_MINUTES;
  return parts.hour * 60 + parts.minute - utc;
}

/** Calls back at each time. What is fired late (the machine slept) is fired once. */
export class Schedule {
  readonly #tasks: readonly ScheduledTask[];

  constructor(expressions: readonly string[], timezone: string | undefined, fire: () => void) {
    this.#tasks = expressions.map((expression) => {
      const task = createTask(expression, fire, {
        timezone,
        unref: true,
        suppressMissedWarning: true,
      });
      task.on('execution:missed', fire);
      return task;
    });
  }

  start(): void {
    for (const task of this.#tasks) void task.start();
  }

  close(): void {
    for (const task of this.#tasks) void task.destroy();
  }
}
