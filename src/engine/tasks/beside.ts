/**
 * Work on a database that has to wait for applications, done beside its lane: each attempt is a task of the lane, and the rests
 * between them are not. So what an application is held up for gets its turn.
 */

import { type Leaving, rest } from './rest.ts';
import type { Scheduler, Task } from './scheduler.ts';

const REST_MS = 1;
/** The end of a task wakes those that wait for it. */
const LOOK_MS = 1000;

export interface Beside {
  readonly ctx: Leaving & {
    /** Monotonic ms. */
    clockMs(): number;
  };
  readonly scheduler: Scheduler;
}

let count = 0;

/** A lane for one task that waits beside those of databases. */
export function ownLane(): string {
  return `\0beside ${++count}`;
}

/** Runs a task in another lane than the caller's. Throws what it throws. */
export function* inLane<T>(scheduler: Scheduler, lane: string, start: () => Task<T>): Task<T> {
  const own = scheduler.current;
  const end: { error?: unknown; result?: T; isOver: boolean } = { isOver: false };
  scheduler.add(lane, start, (error, result) => {
    Object.assign(end, { error, result, isOver: true });
    if (own !== undefined) scheduler.wake(own);
  });
  while (!end.isOver) yield LOOK_MS;
  if (end.error !== undefined) throw end.error;
  return end.result as T;
}

/**
 * Tries in a lane until there is an answer: undefined is none. Returns undefined when there is still none after `patienceMs`.
 * Throws what an attempt throws, and WRONG_STATE when the node stops.
 */
export function* untilTold<T>(
  { ctx, scheduler }: Beside,
  lane: string,
  patienceMs: number,
  attempt: () => Task<T | undefined>,
): Task<T | undefined> {
  const untilMs = ctx.clockMs() + patienceMs;
  for (;;) {
    const answer = yield* inLane(scheduler, lane, attempt);
    if (answer !== undefined || ctx.clockMs() >= untilMs) return answer;
    yield* rest(ctx, REST_MS);
  }
}
