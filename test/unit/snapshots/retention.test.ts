import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ArchiveFile } from '../../../src/snapshots/archive-file.ts';
import { dueMerges, MERGE_LEVELS } from '../../../src/snapshots/merging.ts';
import { planRestore, restorePoints } from '../../../src/snapshots/plan.ts';
import { expiredFiles, type KeepRules } from '../../../src/snapshots/retention.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOW_MS = Date.parse('2026-11-24T12:30:00Z');
const NONE: KeepRules = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, withinMs: 0 };

/** A snapshot each day at 3:00 UTC and each hour, the newest now; TXIDs are hours. */
function snapshots(hours: number): ArchiveFile[] {
  return Array.from({ length: hours }, (_, ago) => ({
    level: 9,
    minTxid: 1,
    maxTxid: 100_000 - ago,
    timestampMs: NOW_MS - ago * HOUR_MS,
    bytes: 1,
  }));
}

function keptBy(files: readonly ArchiveFile[], rules: Partial<KeepRules>, zone = 'UTC'): string[] {
  const expired = new Set(expiredFiles(files, { ...NONE, ...rules }, NOW_MS, zone));
  return files
    .filter((file) => !expired.has(file))
    .map(({ timestampMs }) => new Date(timestampMs).toISOString().slice(0, 13));
}

describe('retention', () => {
  const files = snapshots(24 * 40);

  for (const [what, rules, kept] of [
    ['the newest at least', {}, ['2026-11-24T12']],
    ['the last ones', { last: 3 }, ['2026-11-24T12', '2026-11-24T11', '2026-11-24T10']],
    ['the newest of each day', { daily: 3 }, ['2026-11-24T12', '2026-11-23T23', '2026-11-22T23']],
    [
      'of each week, which begins on Monday',
      { weekly: 3 },
      ['2026-11-24T12', '2026-11-22T23', '2026-11-15T23'],
    ],
    ['of each month', { monthly: 12 }, ['2026-11-24T12', '2026-10-31T23']],
    [
      'all that the rules say together',
      { last: 2, daily: 2 },
      ['2026-11-24T12', '2026-11-24T11', '2026-11-23T23'],
    ],
  ] as const) {
    it(`keeps ${what}`, () => assert.deepEqual(keptBy(files, rules), kept));
  }

  it('takes days as they are where the clock hangs', () => {
    assert.deepEqual(keptBy(files, { daily: 2 }, 'Asia/Tokyo'), ['2026-11-24T12', '2026-11-23T14']);
  });

  it('keeps every restore point of a while, and the snapshot that they need', () => {
    const increments = (from: number, to: number): ArchiveFile[] =>
      Array.from({ length: to - from }, (_, at) => ({
        level: 0,
        minTxid: from + at + 1,
        maxTxid: from + at + 1,
        timestampMs: NOW_MS - (100_000 - from - at - 1) * HOUR_MS,
        bytes: 1,
      }));
    const all = [
      ...snapshots(72).filter((_, ago) => ago % 24 === 0),
      ...increments(100_000 - 60, 100_000),
    ];
    const expired = new Set(expiredFiles(all, { ...NONE, withinMs: DAY_MS }, NOW_MS, 'UTC'));
    const left = all.filter((file) => !expired.has(file));
    const points = restorePoints(left).map(({ txid }) => txid);
    assert.deepEqual(
      points,
      Array.from({ length: 25 }, (_, at) => 100_000 - 24 + at),
    );
  });

  for (const [what, stampMs, isBase] of [
    ['of 1970, cut before the clock was set,', 0, false],
    ['stamped as it was cut', NOW_MS - 30 * HOUR_MS, true],
  ] as const) {
    it(`with a snapshot ${what} keeps what was committed an hour ago`, () => {
      const increment = (txid: number, timestampMs: number): ArchiveFile => {
        return { level: 0, minTxid: txid, maxTxid: txid, timestampMs, bytes: 1 };
      };
      const snapshot = (maxTxid: number, timestampMs: number): ArchiveFile => {
        return { level: 9, minTxid: 1, maxTxid, timestampMs, bytes: 1 };
      };
      const committedMs = isBase ? NOW_MS - 31 * HOUR_MS : NOW_MS - HOUR_MS;
      const all = [
        snapshot(10, NOW_MS - 40 * HOUR_MS),
        increment(11, committedMs),
        snapshot(12, stampMs),
        // A clock that was years ahead for a moment keeps nothing for years.
        increment(5, NOW_MS + 5 * 365 * DAY_MS),
      ];
      const rules = { ...NONE, last: 1, withinMs: DAY_MS };
      const expired = expiredFiles(all, rules, NOW_MS, 'UTC').map(({ maxTxid }) => maxTxid);
      assert.deepEqual(expired, isBase ? [10, 11, 5] : [5]);
    });
  }

  it('never takes a state within the while, nor the newest snapshot', () => {
    const anyFiles = fc.array(
      fc.record({ isSnapshot: fc.boolean(), hours: fc.integer({ min: 0, max: 3 }) }),
      { minLength: 1, maxLength: 60 },
    );
    fc.assert(
      fc.property(anyFiles, fc.integer({ min: 0, max: 100 }), (steps, hours) => {
        let txid = 0;
        let timestampMs = NOW_MS - 200 * HOUR_MS;
        const files: ArchiveFile[] = [{ level: 9, minTxid: 1, maxTxid: 1, timestampMs, bytes: 1 }];
        txid = 1;
        for (const step of steps) {
          timestampMs += step.hours * HOUR_MS;
          if (step.isSnapshot)
            files.push({ level: 9, minTxid: 1, maxTxid: txid, timestampMs, bytes: 1 });
          else {
            txid++;
            files.push({ level: 0, minTxid: txid, maxTxid: txid, timestampMs, bytes: 1 });
          }
        }
        const rules = { ...NONE, last: 1, withinMs: hours * HOUR_MS };
        const expired = new Set(expiredFiles(files, rules, NOW_MS, 'UTC'));
        const left = files.filter((file) => !expired.has(file));
        for (const point of restorePoints(files)) {
          if (point.timestampMs < NOW_MS - rules.withinMs) continue;
          assert.equal(planRestore(left, { kind: 'txid', txid: point.txid }).txid, point.txid);
        }
        assert.equal(
          planRestore(left, { kind: 'latest' }).txid,
          planRestore(files, { kind: 'latest' }).txid,
        );
      }),
    );
  });
});

describe('merging', () => {
  const [fiveMinutes, hour] = MERGE_LEVELS;
  const beginMs = Date.parse('2026-11-24T12:00:00Z');
  const increments = Array.from({ length: 60 }, (_, at) => ({
    level: 0,
    minTxid: at + 2,
    maxTxid: at + 2,
    timestampMs: beginMs + at * 10_000,
    bytes: 1,
  }));
  const groups = (due: readonly (readonly ArchiveFile[])[]) =>
    due.map((files) => [files[0].minTxid, files[files.length - 1].maxTxid]);

  it('waits for the end of a window', () => {
    assert.deepEqual(dueMerges(increments, fiveMinutes, beginMs + 299_999), []);
    assert.deepEqual(groups(dueMerges(increments, fiveMinutes, beginMs + 300_000)), [[2, 31]]);
    const merged = { level: 1, minTxid: 2, maxTxid: 31, timestampMs: beginMs + 290_000, bytes: 1 };
    assert.deepEqual(groups(dueMerges([...increments, merged], fiveMinutes, beginMs + 600_000)), [
      [32, 61],
    ]);
  });

  it('never merges over a gap, and leaves what is alone', () => {
    const gap = increments.filter(({ maxTxid }) => maxTxid !== 10 && maxTxid !== 12);
    assert.deepEqual(groups(dueMerges(gap, fiveMinutes, beginMs + 300_000)), [
      [2, 9],
      [13, 31],
    ]);
  });

  it('takes the longest files that there are', () => {
    const merged = [
      { level: 1, minTxid: 2, maxTxid: 31, timestampMs: beginMs + 290_000, bytes: 1 },
      { level: 1, minTxid: 32, maxTxid: 61, timestampMs: beginMs + 590_000, bytes: 1 },
    ];
    const [inputs] = dueMerges([...increments, ...merged], hour, beginMs + 2 * 3_600_000);
    assert.deepEqual(inputs, merged);
  });
});
