/** Times, sizes, rates and axes of the status page. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeReport } from '../../../../src/http/info.ts';
import { roundTop, runsOf } from '../../../../src/http/page/client/chart.js';
import { lastRate, Rates } from '../../../../src/http/page/client/rates.js';
import {
  ageText,
  bytesText,
  clockText,
  countText,
  durationText,
  rateText,
} from '../../../../src/http/page/client/words.js';

test('times, sizes and numbers read as people say them', () => {
  const durations = [0, 12, 1500, 14_000, 180_000, 7_500_000, 300_000_000].map(durationText);
  assert.deepEqual(durations, ['0 ms', '12 ms', '1.5 s', '14 s', '3 min', '2 h 5 min', '3 days']);
  const ages = [0, 400, 1900, 14_900, 180_000].map(ageText);
  assert.deepEqual(ages, ['0 s', 'less than 1 s', '1 s', '14 s', '3 min']);
  assert.deepEqual([0, 1023, 1024, 5e8].map(bytesText), ['0 B', '1023 B', '1.0 KiB', '477 MiB']);
  assert.deepEqual([0, 0.25, 12.3, 30_000].map(rateText), ['0', '0.3', '12', '30,000']);
  assert.deepEqual([countText(1, 'file'), countText(1200, 'file')], ['1 file', '1,200 files']);
});

test('the time of day has the date when that is another one', () => {
  const noon = new Date(2026, 10, 24, 12, 5).toISOString();
  assert.equal(clockText(noon, new Date(2026, 10, 24, 23).getTime()), '12:05');
  assert.equal(clockText(noon, new Date(2026, 10, 25, 1).getTime()), '2026-11-24 12:05');
  assert.equal(clockText('nonsense', 0), 'nonsense');
});

test('an axis ends at a round number, and a line has a gap where nothing is known', () => {
  assert.deepEqual(
    [0, 900, 1001, 4100, 51_000].map((value) => roundTop(value, 1000)),
    [1000, 1000, 2000, 5000, 100_000],
  );
  const runs = runsOf([null, 1, 2, null, 3]).map((run) => run.map(({ value }) => value));
  assert.deepEqual(runs, [[1, 2], [3]]);
});

test('rates are those of the last ten seconds', () => {
  const rates = new Rates();
  const info = (txid: number) =>
    ({
      databases: [
        { name: 'a.db', position: `${txid.toString(16).padStart(16, '0')}/8000000000000000` },
      ],
    }) as unknown as NodeReport;
  assert.equal(rates.each().size, 0);
  for (let second = 0; second <= 30; second++) {
    rates.add(second * 1000, info(second < 20 ? 0 : (second - 20) * 4));
  }
  assert.equal(rates.each().get('a.db'), 4);
  const history = { everyMs: 2000, until: '', behindMs: {}, commits: [50, 0, 0, 0, 10, 10] };
  assert.equal(lastRate(history), 2);
});
