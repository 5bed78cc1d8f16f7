import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { hasMissed, nextTimes } from '../../../src/snapshots/schedule.ts';
import { formatSecond, formatTime, parseTime } from '../../../src/snapshots/when.ts';

describe('a time that is shown', () => {
  for (const [zone, text] of [
    ['Europe/Berlin', '2026-11-25 18:48:38.120 +01:00'],
    ['America/St_Johns', '2026-11-25 14:18:38.120 -03:30'],
    ['UTC', '2026-11-25 17:48:38.120 +00:00'],
  ] as const) {
    it(`names the zone of ${zone}, and is understood everywhere`, () => {
      const before = process.env.TZ;
      const ms = Date.parse('2026-11-25T17:48:38.120Z');
      try {
        process.env.TZ = zone;
        assert.equal(formatTime(ms), text);
        assert.equal(formatSecond(ms), text.replace('.120', ''));
      } finally {
        if (before === undefined) delete process.env.TZ;
        else process.env.TZ = before;
      }
      assert.equal(parseTime(text, ms), ms);
    });
  }
});

describe('a time that is typed', () => {
  const nowMs = Date.parse('2026-11-24T12:00:00.000Z');
  const local = (text: string) => new Date(text).getTime();

  for (const [text, expectedMs] of [
    ['-10m', nowMs - 600_000],
    ['-1h30m', nowMs - 5_400_000],
    ['-2d', nowMs - 172_800_000],
    ['2026-11-22 14:05', local('2026-11-22T14:05:00')],
    ['2026-11-22T14:05:30', local('2026-11-22T14:05:30')],
    ['2026-11-22 14:05:30.250', local('2026-11-22T14:05:30.250')],
    ['2024-02-29 10:00', local('2024-02-29T10:00:00')],
    ['2026-11-22', local('2026-11-22T00:00:00')],
    ['2026-11-22 14:05Z', Date.parse('2026-11-22T14:05:00Z')],
    ['2026-11-22 14:05 +01:00', Date.parse('2026-11-22T13:05:00Z')],
  ] as const) {
    it(`${text} is understood`, () => assert.equal(parseTime(text, nowMs), expectedMs));
  }

  for (const text of [
    '',
    '10m',
    '-',
    '-10',
    '-10y',
    'yesterday',
    '2026-13-01',
    '25:00',
    '+1h',
    '2026-02-30 10:00',
    '2025-02-29',
    '2026-11-24 12:01Z',
    '2027-01-01',
  ]) {
    it(`${JSON.stringify(text)} is not`, () => {
      assert.throws(
        () => parseTime(text, nowMs),
        (error) => error instanceof LiteFsError && error.code === 'USAGE',
      );
    });
  }
});

describe('a schedule', () => {
  it('fires next at the earliest times of all expressions', () => {
    const times = nextTimes(['0 3 * * *', '0 15 * * *'], 'UTC', 3);
    assert.equal(times.length, 3);
    for (const time of times) assert([3, 15].includes(time.getUTCHours()));
    assert.equal(times[2].getTime() - times[0].getTime(), 86_400_000);
  });

  for (const [since, now, missed] of [
    ['2026-11-23T03:00:05Z', '2026-11-24T02:59:59Z', false],
    ['2026-11-23T03:00:05Z', '2026-11-24T03:00:01Z', true],
    ['2026-11-23T20:00:00Z', '2026-11-24T09:00:00Z', true],
    ['2026-11-24T03:00:00Z', '2026-11-24T09:00:00Z', false],
    ['2020-01-01T00:00:00Z', '2026-11-24T09:00:00Z', true],
  ] as const) {
    it(`between ${since} and ${now} ${missed ? 'was' : 'was not'} missed`, () => {
      const [sinceMs, nowMs] = [Date.parse(since), Date.parse(now)];
      assert.equal(hasMissed(['0 3 * * *'], 'UTC', sinceMs, nowMs), missed);
      assert.equal(hasMissed(['30 0 3 * * *'], 'UTC', sinceMs + 30_000, nowMs + 30_000), missed);
    });
  }

  it('finds what was missed in any zone, on either side of a change of clocks, and by the second', () => {
    const cases = [
      ['0 3 * * *', 'Asia/Kolkata', '2026-11-23T21:29:59Z', '2026-11-23T21:30:00Z', true],
      ['0 3 * * *', 'Asia/Kolkata', '2026-11-23T21:30:00Z', '2026-11-24T21:29:59Z', false],
      ['0 3 * * *', 'America/New_York', '2026-10-31T06:59:59Z', '2026-10-31T07:00:00Z', true],
      ['0 3 * * *', 'America/New_York', '2026-10-30T08:00:00Z', '2026-11-05T00:00:00Z', true],
      ['45 3 * * *', 'Australia/Lord_Howe', '2026-04-03T16:44:59Z', '2026-04-04T16:44:00Z', true],
      ['0 3 1 * *', 'UTC', '2026-11-01T03:00:00Z', '2026-11-30T23:00:00Z', false],
      ['0 3 1 * *', 'UTC', '2026-11-01T02:59:59Z', '2026-11-30T23:00:00Z', true],
      ['*/20 * * * * *', 'UTC', '2026-11-24T03:00:20Z', '2026-11-24T03:00:39Z', false],
      ['*/20 * * * * *', 'UTC', '2026-11-24T03:00:20Z', '2026-11-24T03:00:40Z', true],
    ] as const;
    for (const [expression, zone, since, now, missed] of cases) {
      const found = hasMissed([expression], zone, Date.parse(since), Date.parse(now));
      assert.equal(found, missed, `${expression} ${zone} ${since} ${now}`);
    }
  });

  it('keeps nobody waiting for weeks that are searched', () => {
    const nowMs = Date.parse('2026-11-24T12:00:00Z');
    const startedMs = performance.now();
    assert.equal(hasMissed(['0 3 29 2 *'], 'Europe/Berlin', 0, nowMs), false);
    const tookMs = performance.now() - startedMs;
    assert(tookMs < 400, `${tookMs} ms`);
  });
});
