/** Times as people type them behind --at, and as they are shown to them. Pure but for the system's zone. */
import { LiteFsError } from '../errors.ts';

const UNITS_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * ms since 1970 of `-10m`, `-1h30m`, `2026-11-22 14:05`, `2026-11-22T14:05:30`, `14:05` (today), or any of them with a
 * zone (`Z`, `+01:00`); without one it is the system's.
 * @throws LiteFsError USAGE, also for a day that is in no calendar, and for a time that is yet to come
 */
export function parseTime(text: string, nowMs: number): number {
  const relative = /^-((?:\d+[smhd])+)$/.exec(text.trim());
  if (relative) {
    let agoMs = 0;
    for (const [, count, unit] of relative[1].matchAll(/(\d+)([smhd])/g)) {
      agoMs += Number(count) * UNITS_MS[unit];
    }
    return nowMs - agoMs;
  }
  const match =
    /^(?:(\d{4}-\d{2}-\d{2})(?:[ T]|$))?(\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)?\s*(Z|[+-]\d{2}:?\d{2})?$/.exec(
      text.trim(),
    );
  if (match?.[1] || match?.[2]) {
    const [, date = localDate(nowMs), time = '00:00', zone = ''] = match;
    const ms = isDay(date) ? Date.parse(`${date}T${time}${zone}`) : Number.NaN;
    if (ms > nowMs) {
      throw new LiteFsError('USAGE', `${text.trim()} is yet to come`, {
        hint: 'Name the day as well: --at "2026-11-22 14:05". Without --at it is the newest state.',
      });
    }
    if (!Number.isNaN(ms)) return ms;
  }
  throw new LiteFsError('USAGE', `${JSON.stringify(text)} is not a time`, {
    hint: 'Write --at "2026-11-22 14:05", --at "14:05" or --at "-10m".',
  });
}

/** In the system's zone, which it names, so that parseTime reads the same: `2026-11-25 18:48:38.123 +01:00`. */
export function formatTime(ms: number): string {
  const eastMin = -new Date(ms).getTimezoneOffset();
  const local = new Date(ms + eastMin * 60_000).toISOString().replace('T', ' ').replace('Z', '');
  const two = (value: number) => `${Math.trunc(value)}`.padStart(2, '0');
  const zone = Math.abs(eastMin);
  return `${local} ${eastMin < 0 ? '-' : '+'}${two(zone / 60)}:${two(zone % 60)}`;
}

/** The same to the second, where nobody restores by it. */
export function formatSecond(ms: number): string {
  return formatTime(ms).replace(/\.\d+/, '');
}

/** Date.parse takes 30 February for 2 March. */
function isDay(date: string): boolean {
  const ms = Date.parse(`${date}T00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date);
}

function localDate(ms: number): string {
  const date = new Date(ms);
  const two = (value: number) => `${value}`.padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
