/** Times, sizes and numbers as people say them. Pure. */

/** @param {number} ms */
export function durationText(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 0.0005) return '0 ms';
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.floor(s)} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

/**
 * For what is looked at each second: without parts of a second.
 *
 * @param {number} ms
 */
export function ageText(ms) {
  if (ms > 0 && ms < 1000) return 'less than 1 s';
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  return seconds < 120 ? `${seconds} s` : durationText(seconds * 1000);
}

/**
 * The time of day, with the date when that was another day.
 *
 * @param {string} iso
 * @param {number} nowMs
 */
export function clockText(iso, nowMs) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
  if (at.toDateString() === new Date(nowMs).toDateString()) return time;
  const pad = (/** @type {number} */ value) => `${value}`.padStart(2, '0');
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${time}`;
}

/** @param {number} bytes */
export function bytesText(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** @param {number} value */
export function numberText(value) {
  return Math.round(value).toLocaleString('en');
}

/** @param {number} perSecond */
export function rateText(perSecond) {
  if (perSecond === 0) return '0';
  return perSecond < 10 ? perSecond.toFixed(1) : numberText(perSecond);
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function countText(count, one, many = `${one}s`) {
  return `${numberText(count)} ${count === 1 ? one : many}`;
}
