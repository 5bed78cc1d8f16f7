/** Work that is shared: one run at a time, and no answer of a run that began before the question. */
import assert from 'node:assert/strict';
import { beforeEach, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { SharedRuns } from '../../../src/daemon/shared-runs.ts';

let begun: { key: string; end: PromiseWithResolvers<number> }[];
let runs: SharedRuns<number>;
beforeEach(() => {
  begun = [];
  runs = new SharedRuns((key) => {
    const end = Promise.withResolvers<number>();
    begun.push({ key, end });
    return end.promise;
  });
});

it('answers who comes during a run by the next one, all together', async () => {
  const first = runs.ask('a');
  const others = [runs.ask('a'), runs.ask('a'), runs.ask('a')];
  assert.equal(begun.length, 1);
  begun[0].end.resolve(1);
  assert.equal(await first, 1);
  await setImmediate();
  assert.equal(begun.length, 2);
  const late = runs.ask('a');
  begun[1].end.resolve(2);
  assert.deepEqual(await Promise.all(others), [2, 2, 2]);
  await setImmediate();
  begun[2].end.resolve(3);
  assert.equal(await late, 3);
  await setImmediate();
  runs.ask('a');
  assert.equal(begun.length, 4);
});

it('keeps keys apart', () => {
  runs.ask('a');
  runs.ask('b');
  assert.deepEqual(
    begun.map(({ key }) => key),
    ['a', 'b'],
  );
});

it('goes on after a run that failed', async () => {
  const first = runs.ask('a');
  const next = runs.ask('a');
  begun[0].end.reject(new Error('no'));
  await assert.rejects(first, /no/);
  await setImmediate();
  begun[1].end.resolve(2);
  assert.equal(await next, 2);
  await setImmediate();
  const alone = runs.ask('a');
  begun[2].end.reject(new Error('not again'));
  await assert.rejects(alone, /not again/);
});
