/** When a peer is given up, by a clock of the test's own. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Patience, type Standing } from '../../../src/replication/patience.ts';

/** The second in which it is given up, and why; it sends something each second. */
function givenUp(standing: Standing, isHeld = false): [number, string] | undefined {
  let nowMs = 0;
  const patience = new Patience({ wallMs: () => 0, monotonicMs: () => nowMs });
  for (let second = 1; second <= 1000; second++) {
    nowMs = second * 1000;
    const end = patience.end(standing, { isHeld, bytesReceived: isHeld ? 0 : second });
    if (end) return [second, end.message];
  }
  return undefined;
}

describe('a peer that says something each second', () => {
  it('must prove who it is within 10 s', () => {
    assert.deepEqual(givenUp('stranger'), [11, 'it has not proved who it is within 10 s']);
  });

  // On 25311ce it could hold its place by a byte each 10 s.
  it('must say what it wants within 60 s', () => {
    assert.deepEqual(givenUp('guest'), [61, 'it has not said what it wants within 60 s']);
  });

  it('may follow for ever', () => {
    assert.equal(givenUp('follower'), undefined);
  });

  it('is heard no more once it was refused', () => {
    assert.deepEqual(givenUp('refused'), [11, 'nothing heard from it for 10 s']);
  });

  it('must take within 300 s what keeps it from being heard', () => {
    const why = 'it has not taken what was sent to it for 300 s';
    assert.deepEqual(givenUp('follower', true), [302, why]);
  });
});
