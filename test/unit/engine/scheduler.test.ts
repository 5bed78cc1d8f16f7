/** Tasks of one lane in order, lanes in turns, and nothing that one task does ends another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asTask, type Pause, Scheduler, type Task } from '../../../src/engine/tasks/scheduler.ts';

/** A scheduler on a clock that stands still until the test moves it, and a diary of what happened. */
function stand() {
  const clock = { nowMs: 0 };
  const diary: string[] = [];
  const scheduler = new Scheduler(() => clock.nowMs);
  const add = (lane: string, name: string, pauses: readonly Pause[]) =>
    scheduler.add(
      lane,
      function* () {
        for (const [i, pause] of pauses.entries()) {
          diary.push(`${name}${i}`);
          yield pause;
        }
        diary.push(`${name}.`);
      },
      () => {},
    );
  return { clock, diary, scheduler, add };
}

test('tasks of one lane run one after the other, lanes take turns', () => {
  const { diary, scheduler, add } = stand();
  add('x', 'a', [undefined, undefined]);
  add('x', 'b', [undefined]);
  add('y', 'c', [undefined]);
  while (!scheduler.isIdle) scheduler.step();
  assert.deepEqual(diary, ['a0', 'c0', 'a1', 'c.', 'a.', 'b0', 'b.']);
});

test('any lanes of any tasks: each lane in its order, and no lane waits more than one step', () => {
  const tasks = fc.array(fc.tuple(fc.constantFrom('x', 'y', 'z'), fc.nat(4)), { maxLength: 12 });
  fc.assert(
    fc.property(tasks, (list) => {
      const { diary, scheduler, add } = stand();
      for (const [i, [lane, yields]] of list.entries()) {
        add(lane, `${lane}${i}-`, new Array(yields).fill(undefined));
      }
      while (!scheduler.isIdle) {
        const from = diary.length;
        scheduler.step();
        const stepped = diary.slice(from).map((entry) => entry[0]);
        assert.equal(new Set(stepped).size, stepped.length, 'one step a lane');
      }
      for (const lane of ['x', 'y', 'z']) {
        const expected = list.flatMap(([of, yields], i) =>
          of === lane
            ? [...Array.from({ length: yields }, (_, n) => `${lane}${i}-${n}`), `${lane}${i}-.`]
            : [],
        );
        assert.deepEqual(
          diary.filter((entry) => entry.startsWith(lane)),
          expected,
        );
      }
    }),
  );
});

test('a task that rests is left alone until its time, and others go on', () => {
  const { clock, diary, scheduler, add } = stand();
  assert.equal(scheduler.nextInMs(), undefined, 'nothing to do');
  add('x', 'a', [20]);
  add('y', 'b', [5]);
  assert.equal(scheduler.nextInMs(), 0);
  assert.equal(scheduler.step(), 2);
  assert.equal(scheduler.nextInMs(), 5);
  assert.equal(scheduler.step(), 0);
  clock.nowMs = 5;
  assert.equal(scheduler.step(), 1);
  assert.equal(scheduler.nextInMs(), 15);
  clock.nowMs = 20;
  scheduler.step();
  assert.deepEqual(diary, ['a0', 'b0', 'b.', 'a.']);
  assert(scheduler.isIdle);
});

test('a task that rests is woken by what it waits for', () => {
  const { scheduler, add } = stand();
  add('x', 'a', [1000]);
  scheduler.step();
  scheduler.wake('nobody');
  scheduler.wake('x');
  assert.equal(scheduler.nextInMs(), 0);
  scheduler.step();
  assert.equal(scheduler.isBusy('x'), false);
});

test('the outcome of a task is told from within a step, never at once', () => {
  const { scheduler } = stand();
  const outcomes: unknown[] = [];
  const note = (error: unknown, result: unknown) => outcomes.push([error, result]);
  const failure = new Error('broken');
  scheduler.add('x', () => asTask(() => 42), note);
  scheduler.add(
    'x',
    () => {
      throw failure;
    },
    note,
  );
  scheduler.add(
    'x',
    function* (): Task<number> {
      yield;
      throw failure;
    },
    note,
  );
  scheduler.add(
    'x',
    // biome-ignore lint/correctness/useYield: it throws before it could.
    function* () {
      throw undefined;
    },
    note,
  );
  assert.deepEqual(outcomes, []);
  while (!scheduler.isIdle) scheduler.step();
  assert.deepEqual(outcomes.slice(0, 3), [
    [undefined, 42],
    [failure, undefined],
    [failure, undefined],
  ]);
  assert((outcomes[3] as unknown[])[0] instanceof Error, 'nothing thrown is an error too');
});

test('a task that is added by the end of another comes after those that wait', () => {
  const { diary, scheduler, add } = stand();
  scheduler.add(
    'x',
    () => asTask(() => diary.push('first')),
    () => add('x', 'late', []),
  );
  add('x', 'a', []);
  while (!scheduler.isIdle) scheduler.step();
  assert.deepEqual(diary, ['first', 'a.', 'late.']);
});

test('the last task of a lane may add the next: the lane does not go with it', () => {
  const { diary, scheduler, add } = stand();
  scheduler.add(
    'x',
    () => asTask(() => diary.push('first')),
    () => add('x', 'next', []),
  );
  scheduler.step();
  assert(scheduler.isBusy('x'));
  scheduler.step();
  assert.deepEqual(diary, ['first', 'next.']);
});

test('a task may be a value, a task, or a list that is no task', () => {
  const run = (task: Task) => {
    let step = task.next();
    while (!step.done) step = task.next();
    return step.value;
  };
  function* later(): Task<string> {
    yield 1;
    return 'later';
  }
  assert.equal(run(asTask(() => 'now')), 'now');
  assert.equal(run(asTask(later)), 'later');
  assert.deepEqual(run(asTask(() => [1, 2])), [1, 2]);
  assert.equal(run(asTask(() => undefined)), undefined);
});

test('a lane that is left off has failed, as far as those know that wait for it', () => {
  const { diary, scheduler, add } = stand();
  const outcomes: unknown[] = [];
  add('x', 'a', [undefined, undefined]);
  scheduler.add(
    'x',
    () => asTask(() => 42),
    (error, result) => outcomes.push([error, result]),
  );
  add('y', 'd', [undefined]);
  scheduler.step();
  const error = new Error('the end');
  for (const lane of ['x', 'y', 'z']) scheduler.leaveOff(lane, error);
  assert(scheduler.isIdle);
  assert.deepEqual(diary, ['a0', 'd0']);
  assert.deepEqual(outcomes, [[error, undefined]]);
});

test('a task may leave off its own lane, and add to it', () => {
  const { diary, scheduler, add } = stand();
  scheduler.add(
    'x',
    () =>
      asTask(() => {
        scheduler.leaveOff('x', new Error('begun again'));
        add('x', 'b', []);
      }),
    () => {},
  );
  while (!scheduler.isIdle) scheduler.step();
  assert.deepEqual(diary, ['b.']);
});
