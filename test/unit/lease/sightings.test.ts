/** What is told of other nodes with which something is wrong, and for how long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Sightings } from '../../../src/lease/sightings.ts';

test('what is seen again and again is told once, until it is not seen any more', () => {
  let nowMs = 0;
  const sightings = new Sightings(() => nowMs);
  assert(sightings.saw('two-primaries 2', 'two primaries'));
  assert(!sightings.saw('probe', 'two primaries'), 'it is not new');
  assert(sightings.saw('other-cluster 3', 'a stranger'));
  for (let minute = 0; minute < 10; minute++) {
    nowMs += 60_000;
    assert(!sightings.saw('probe', 'two primaries'));
  }
  assert.deepEqual(sightings.texts(), ['two primaries']);
  nowMs += 151_000;
  assert.deepEqual(sightings.texts(), []);
  assert(sightings.saw('probe', 'two primaries'), 'it is new again');
});

test('what was looked for and found well is not told any more', () => {
  const sightings = new Sightings(() => 0);
  sightings.saw('probe', 'two primaries');
  sightings.gone('probe');
  assert.deepEqual(sightings.texts(), []);
});
