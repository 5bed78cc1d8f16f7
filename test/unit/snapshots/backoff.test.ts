/** When what failed is tried again. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Backoff } from '../../../src/snapshots/backoff.ts';

const MINUTE_MS = 60_000;

it('waits ever longer, at most five minutes, for what failed at once', () => {
  const backoff = new Backoff(10_000);
  assert.equal(backoff.waitMs('a.db', 0), 0);
  const waits: number[] = [];
  for (let times = 0; times < 8; times++) {
    backoff.failed('a.db', 1000, 1000);
    waits.push(backoff.waitMs('a.db', 1000) / 1000);
  }
  assert.deepEqual(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
  assert.equal(backoff.waitMs('a.db', 2000), 299_000);
  assert.equal(backoff.waitMs('a.db', 400_000), 0);
  assert.equal(backoff.waitMs('b.db', 1000), 0);
  backoff.wentWell('a.db');
  assert.equal(backoff.waitMs('a.db', 1000), 0);
});

it('waits ten times as long as what failed has taken, at most an hour', () => {
  const backoff = new Backoff(0);
  backoff.failed('a.db', 0, MINUTE_MS);
  assert.equal(backoff.waitMs('a.db', MINUTE_MS), 10 * MINUTE_MS);
  backoff.failed('a.db', 0, 30 * MINUTE_MS);
  assert.equal(backoff.waitMs('a.db', 30 * MINUTE_MS), 60 * MINUTE_MS);
  backoff.failed('b.db', 5, 5);
  assert.equal(backoff.waitMs('b.db', 5), 0);
});
