/**
 * What can be restored: a line for each database, with its restore points and snapshots inside.
 *
 * @typedef {import('../../snapshots.ts').SnapshotsReport} SnapshotsReport
 * @typedef {import('../../snapshots.ts').ArchiveReport} ArchiveReport
 */
import { el, show } from './dom.js';
import { badge, table } from './table.js';
import { ageText, bytesText, clockText, countText, numberText } from './words.js';

/** More are not listed: a page of them helps nobody. */
const LISTED_MAX = 50;

/** What becomes of a snapshot before it counts, by snapshots.verify. */
const CHECKS = {
  full: 'Each snapshot is restored and must pass PRAGMA integrity_check before it counts',
  quick: 'Of each snapshot the checksums are compared before it counts',
  off: 'Snapshots are not read back (snapshots.verify is off)',
};

/**
 * @param {{ section: HTMLElement, about: Element, list: Element }} parts
 * @param {SnapshotsReport} report
 * @param {number} nowMs
 */
export function showSnapshots({ section, about, list }, report, nowMs) {
  const { dir, verify, lastRun, nextRun } = report;
  section.hidden = dir === null || verify === null;
  if (dir === null || verify === null) return;
  const last = lastRun
    ? ` The last scheduled run, ${agoText(lastRun.startedAt, nowMs)}, ${lastRun.ok ? 'went well' : `failed: ${lastRun.errors.join('; ')}`}.`
    : '';
  const next = nextRun ? ` The next one is at ${clockText(nextRun, nowMs)}.` : '';
  show(about, [dir, verify, last, next], () => [
    badge(verify === 'off' ? 'warn' : 'good', verify === 'off' ? 'not verified' : 'verified'),
    ` ${CHECKS[verify]}. They are in `,
    el('span', { class: 'mono' }, dir),
    `.${last}${next}`,
  ]);
  const minute = Math.floor(nowMs / 60_000);
  show(list, [report.databases, minute], () => {
    const opened = [...list.querySelectorAll('details[open]')].map((details) =>
      details.getAttribute('data-name'),
    );
    if (report.databases.length === 0) return [el('p', { class: 'empty' }, 'None yet.')];
    return report.databases.map((archive) =>
      archiveDetails(archive, nowMs, opened.includes(archive.name)),
    );
  });
}

/**
 * @param {ArchiveReport} archive
 * @param {number} nowMs
 * @param {boolean} isOpen
 */
function archiveDetails({ name, snapshots, ranges, bytes }, nowMs, isOpen) {
  const points = ranges.reduce((sum, range) => sum + range.points, 0);
  const newest = ranges[0]?.to.at;
  const oldest = ranges[ranges.length - 1]?.from.at;
  const summary =
    newest && oldest
      ? `${countText(points, 'restore point')}, ${spanText(agoText(oldest, nowMs), agoText(newest, nowMs))}`
      : 'no restore point yet';
  const rangeRows = ranges
    .slice(0, LISTED_MAX)
    .map(({ from, to, points: states, bytes: size }) => [
      `${clockText(from.at, nowMs)} – ${clockText(to.at, nowMs)}`,
      agoText(to.at, nowMs),
      numberText(states),
      txidText(to.txid),
      bytesText(size),
    ]);
  const snapshotRows = snapshots
    .slice(0, LISTED_MAX)
    .map(({ at, txid, bytes: size, verified }) => [
      clockText(at, nowMs),
      agoText(at, nowMs),
      txidText(txid),
      bytesText(size),
      verifiedText(verified, nowMs),
    ]);
  const rangeHeadings = ['Restore points from – to', 'The last', 'States', 'Transaction', 'Size'];
  const snapshotHeadings = ['Snapshot of', 'Age', 'Transaction', 'Size', 'Verified'];
  return el(
    'details',
    { 'data-name': name, open: isOpen },
    el(
      'summary',
      {},
      el('strong', {}, name),
      el(
        'span',
        { class: 'muted' },
        ` ${summary}; ${countText(snapshots.length, 'snapshot')}, ${bytesText(bytes)}`,
      ),
    ),
    table('Restore points, in stretches without a gap', rangeHeadings, rangeRows),
    table('Snapshots', snapshotHeadings, snapshotRows),
  );
}

/**
 * @param {import('../../snapshots.ts').SnapshotReport['verified']} verified
 * @param {number} nowMs
 */
function verifiedText(verified, nowMs) {
  return verified ? `${verified.check}, ${agoText(verified.at, nowMs)}` : 'not known';
}

/**
 * These are looked at now and then: seconds would be wrong soon.
 *
 * @param {string} iso
 * @param {number} nowMs
 */
function agoText(iso, nowMs) {
  const ms = nowMs - Date.parse(iso);
  return ms < 60_000 ? 'less than a minute ago' : `${ageText(ms)} ago`;
}

/**
 * @param {string} from
 * @param {string} to
 */
function spanText(from, to) {
  return from === to ? from : `from ${from} to ${to}`;
}

/** @param {string} hex */
function txidText(hex) {
  return numberText(Number.parseInt(hex, 16));
}
