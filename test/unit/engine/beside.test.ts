/** Work that waits beside the lane of a database: the lane is free meanwhile, and the answer is told at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineContext } from '../../../src/engine/core/context.ts';
import { type Beside, inLane, ownLane, untilTold } from '../../../src/engine/tasks/beside.ts';
import { Scheduler, type Task } from '../../../src/engine/tasks/scheduler.ts';
import type { LiteFsError } from '../../../src/errors.ts';

function stand() {
  const clock = { nowMs: 0, isDetached: false };
  const scheduler = new Scheduler(() => clock.nowMs);
  const ctx = {
    clockMs: () => clock.nowMs,
    isDetached: () => clock.isDetached,
  } as EngineContext;
  const outcomes: unknown[] = [];
  const begin = (task: (beside: Beside) => Task<unknown>) =>
    scheduler.add(
      ownLane(),
      () => task({ ctx, scheduler }),
      (error, result) => outcomes.push(error ?? result),
    );
  /** Until nothing is left to do, or nothing but rests, which pass then. */
  const run = () => {
    while (!scheduler.isIdle) {
      clock.nowMs += scheduler.nextInMs() ?? 0;
      scheduler.step();
    }
  };
  return { clock, scheduler, outcomes, begin, run };
}

test('the end of a task in another lane is known at once', () => {
  const { clock, scheduler, outcomes, begin } = stand();
  begin(({ scheduler }) =>
    inLane(scheduler, 'db', function* () {
      yield 5;
      return 'done';
    }),
  );
  scheduler.step();
  scheduler.step();
  clock.nowMs = 5;
  scheduler.step();
  scheduler.step();
  assert.deepEqual(outcomes, ['done']);
});

test('what a task in another lane throws is thrown, also when that lane is left off', () => {
  const { scheduler, outcomes, begin, run } = stand();
  const failure = new Error('broken');
  begin(({ scheduler }) =>
    inLane(scheduler, 'db', () => {
      throw failure;
    }),
  );
  run();
  const end = new Error('the end');
  begin(({ scheduler }) =>
    inLane(scheduler, 'db', function* () {
      yield 1000;
    }),
  );
  scheduler.step();
  scheduler.step();
  scheduler.leaveOff('db', end);
  run();
  assert.deepEqual(outcomes, [failure, end]);
});

test('what is waited for gets its turn in the lane between two attempts', () => {
  const { scheduler, outcomes, begin, run } = stand();
  let isFree = false;
  let attempts = 0;
  begin((beside) =>
    untilTold(beside, 'db', 1000, function* () {
      attempts++;
      // The writer that is waited for is held up until its own task has been run.
      if (attempts === 1) {
        scheduler.add(
          'db',
          function* () {
            yield 3;
            isFree = true;
          },
          () => {},
        );
      }
      return isFree ? 'told' : undefined;
    }),
  );
  run();
  assert.deepEqual(outcomes, ['told']);
  assert.equal(attempts, 2);
});

test('patience ends, and so does the node', () => {
  const { clock, outcomes, begin, run } = stand();
  const never = (beside: Beside) =>
    untilTold(beside, 'db', 20, function* () {
      yield;
      return undefined;
    });
  begin(never);
  run();
  assert.deepEqual(outcomes, [undefined]);
  assert(clock.nowMs >= 20);
  begin(never);
  clock.isDetached = true;
  run();
  assert.equal(((outcomes as unknown[])[1] as LiteFsError).code, 'WRONG_STATE');
});
