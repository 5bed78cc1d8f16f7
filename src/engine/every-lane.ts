/** What concerns all databases: it takes its turn in the lane of each, beside what is done there. */
import { LiteFsError, throwBug } from '../errors.ts';
import type { Follower } from './capture/follower.ts';
import type { CaptureOutcome } from './core/context.ts';
import type { Database } from './core/database.ts';
import { type Beside, ownLane } from './tasks/beside.ts';
import type { Task } from './tasks/scheduler.ts';

interface Lanes extends Beside {
  readonly registry: Iterable<Database>;
}

const WAIT_MS = 1;

/**
 * Captures every database, behind what is done in its lane. `patienceMs`: for locks that keep us from reading; `waitMs`: for
 * all of it. Returns what became of those that have ended.
 */
export function* flushAll(
  { ctx, registry, scheduler, follower }: Lanes & { readonly follower: Follower },
  patienceMs: number,
  waitMs = Number.POSITIVE_INFINITY,
): Task<Map<Database, CaptureOutcome>> {
  const outcomes = new Map<Database, CaptureOutcome>();
  const waiting = new Set(registry);
  const startedMs = ctx.clockMs();
  for (const db of waiting) {
    scheduler.add(
      ownLane(),
      () => follower.flushPatiently(db, patienceMs),
      (error, outcome) => {
        waiting.delete(db);
        throwBug(error);
        if (outcome) outcomes.set(db, outcome);
      },
    );
  }
  while (waiting.size > 0 && ctx.clockMs() - startedMs < waitMs) yield WAIT_MS;
  return outcomes;
}

/**
 * Ends what is done in the lanes, once the mount is let go of: it would open files there anew. What is not over after
 * `waitMs` is left off as it stands: readers lose nothing by that, and a half-written file is known as one.
 */
export function* endTasks({ ctx, registry, scheduler }: Lanes, waitMs: number): Task<void> {
  const untilMs = ctx.clockMs() + waitMs;
  const lanes = [...registry].map(({ name }) => name);
  for (const lane of lanes) scheduler.wake(lane);
  while (lanes.some((lane) => scheduler.isBusy(lane)) && ctx.clockMs() < untilMs) yield WAIT_MS;
  const stopping = new LiteFsError('WRONG_STATE', 'the node is stopping');
  for (const lane of lanes) scheduler.leaveOff(lane, stopping);
}
