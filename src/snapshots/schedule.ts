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

/** Whether any of the expressions should have fired after `sinceMs` and before `nowMs`. */
export function hasMissed(
  expressions: readonly string[],
  timezone: string | undefined,
  sinceMs: number,
  nowMs: number,
): boolean {
  return expressions.some((expression) => {
    const task = createTask(expression, () => {}, { timezone });
    const [second = 0] = parse(expression).second;
    const beginMs = Math.max(sinceMs, nowMs - MISSED_MS_MAX);
    let ms = Math.floor(beginMs / MINUTE_MS) * MINUTE_MS + second * 1000;
    if (ms <= beginMs) ms += MINUTE_MS;
    for (; ms < nowMs; ms += MINUTE_MS) if (task.match(new Date(ms))) return true;
    return false;
  });
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
