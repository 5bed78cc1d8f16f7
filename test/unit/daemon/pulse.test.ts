/** Whether a part of the node answers, and that it is not asked again before it has. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Pulse } from '../../../src/daemon/pulse.ts';

const MS_MAX = 30;

describe('the pulse of a part', () => {
  let nowMs: number;
  let questions: PromiseWithResolvers<void>[];
  let pulse: Pulse;
  beforeEach(() => {
    nowMs = 1000;
    questions = [];
    const ask = () => {
      const question = Promise.withResolvers<void>();
      questions.push(question);
      return question.promise;
    };
    pulse = new Pulse({ name: 'the engine', ask }, MS_MAX, () => nowMs);
  });

  it('is well when it answers, also that it cannot', async () => {
    for (const answer of ['resolve', 'reject'] as const) {
      const felt = pulse.feel();
      questions.at(-1)?.[answer]();
      await felt;
      nowMs += MS_MAX * 2;
      assert.equal(pulse.trouble, undefined);
    }
    assert.equal(questions.length, 2);
  });

  it('has one question, however many ask, and they wait for it no longer than it may take', async () => {
    const waiting = Promise.all(Array.from({ length: 100 }, () => pulse.feel()));
    assert.equal(pulse.trouble, undefined);
    await waiting;
    // The timer is what counts, also where the clock is a little behind it.
    assert.match(pulse.trouble ?? '', /has not answered/);
    nowMs += 6000;
    assert.equal(pulse.trouble, 'the engine has not answered for 6 s');
    // Now it is known: nobody waits.
    await pulse.feel();
    assert.equal(questions.length, 1);
    questions[0].resolve();
    await questions[0].promise;
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(pulse.trouble, undefined);
    const felt = pulse.feel();
    questions[1].resolve();
    await felt;
  });
});
