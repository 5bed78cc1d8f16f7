/** Reading is held to a rate, and what was not read in time is not made up for. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileSource } from '../../../src/ltx/sources.ts';
import { Pace } from '../../../src/snapshots/pace.ts';
import { withFolder } from '../os/folder.ts';

/** A pace on a clock that only its own sleep moves, and what it has slept. */
function stand(bytesPerSecond: number) {
  const clock = { nowMs: 1000 };
  const slept: number[] = [];
  const pace = new Pace(
    () => clock.nowMs,
    (ms) => {
      slept.push(ms);
      clock.nowMs += ms;
    },
  );
  pace.limit(bytesPerSecond);
  return { clock, slept, pace };
}

test('each read waits until it was allowed', () => {
  const { clock, slept, pace } = stand(1_000_000);
  pace.spend(500_000);
  pace.spend(250_000);
  assert.deepEqual(slept, [500, 250]);
  clock.nowMs += 10_000;
  pace.spend(1_000_000);
  assert.deepEqual(slept.slice(2), [1000], 'the pause before it buys nothing');
});

test('without a limit nothing waits', () => {
  const { slept, pace } = stand(0);
  pace.spend(1 << 30);
  assert.deepEqual(slept, []);
});

test('all that is read of a file is counted', () =>
  withFolder((folder) => {
    const file = path.join(folder, 'f');
    fs.writeFileSync(file, Buffer.alloc(3_000_000));
    const fd = fs.openSync(file, 'r');
    const { clock, pace } = stand(1_000_000);
    const source = fileSource(fd, 1000, 2_000_000, pace.spend);
    while (source.remaining > 0) source.take(Math.min(source.remaining, 4096));
    fs.closeSync(fd);
    assert.equal(Math.round(clock.nowMs), 3000);
  }));
