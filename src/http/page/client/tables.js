/**
 * The tables: nodes, databases, snapshots. On a narrow screen each row is a card, so each cell has its heading with it.
 *
 * @typedef {import('../../info.ts').NodeReport} NodeReport
 * @typedef {import('../../snapshots.ts').SnapshotsReport} SnapshotsReport
 * @typedef {import('../../snapshots.ts').ArchiveReport} ArchiveReport
 * @typedef {import('./facts.js').Mood} Mood
 * @typedef {import('./dom.js').Child} Child
 */
import { el, show } from './dom.js';
import { databaseNames, nodesOf, placeOf, txidOf } from './facts.js';
import { ageText, bytesText, clockText, countText, numberText, rateText } from './words.js';

/** More are not listed: a page of them helps nobody. */
const LISTED_MAX = 50;

/**
 * @param {Element} parent
 * @param {NodeReport} info
 * @param {number} nowMs
 */
export function showNodes(parent, info, nowMs) {
  const rows = nodesOf(info).map((node) => {
    const { behindMs, mood } = node;
    const behind = behindMs === null ? 'not known' : behindMs === 0 ? 'nothing' : ageText(behindMs);
    const since = node.since ? clockText(node.since, nowMs) : '';
    const where = node.isSelf ? 'this node, mounted on' : '';
    return { ...node, behind, since, where, mood };
  });
  show(parent, rows, () => [
    table(
      'Nodes of the cluster that this node knows',
      ['Node', 'Role', 'State', 'Since', 'Behind', 'Address'],
      rows.map((row) => [
        row.name,
        row.role,
        badge(row.mood, row.state),
        row.since || '–',
        row.behind,
        el(
          'span',
          {},
          row.isSelf && el('span', { class: 'muted' }, 'this node, on '),
          el('span', { class: 'mono' }, row.address),
        ),
      ]),
    ),
  ]);
}

/**
 * @param {Element} parent
 * @param {NodeReport} info
 * @param {ReadonlyMap<string, number>} rates commits per second, by database
 */
export function showDatabases(parent, info, rates) {
  const nodes = nodesOf(info);
  const names = databaseNames(info);
  const rows = names.slice(0, LISTED_MAX).map((name) => {
    const db = info.databases.find((candidate) => candidate.name === name);
    return {
      name,
      size: db ? bytesText(db.pages * db.pageSize) : '–',
      mode: db ? (db.journalMode === 'wal' ? 'WAL' : 'rollback journal') : '',
      state: db?.state ?? 'not here',
      reason: db?.reason ?? '',
      rate: rateText(rates.get(name) ?? 0),
      places: nodes.map((node) => placeOf(info, node, name)),
    };
  });
  const headings = [
    'Database',
    'State',
    'Size',
    'Commits/s',
    ...nodes.map(({ name, isSelf }) => `On ${name}${isSelf ? ' (this)' : ''}`),
  ];
  const left = names.length - rows.length;
  show(parent, [headings, rows, left], () => {
    if (rows.length === 0) return [el('p', { class: 'empty' }, 'No databases yet.')];
    const cells = rows.map((row) => [
      row.name,
      el(
        'span',
        {},
        badge(stateMood(row.state), row.state),
        row.reason && el('div', { class: 'small' }, row.reason),
      ),
      el('span', {}, row.size, el('div', { class: 'muted small' }, row.mode)),
      row.rate,
      ...row.places.map(place),
    ]);
    const more =
      left > 0 &&
      el('p', { class: 'empty' }, `and ${numberText(left)} more: /databases lists them all.`);
    return [table('Databases and their positions on each node', headings, cells), more];
  });
}

/** @param {string} state */
function stateMood(state) {
  return state === 'ok' ? 'good' : state === 'degraded' ? 'bad' : 'warn';
}

/** @param {import('./facts.js').Place} place */
function place({ position, mood, text }) {
  if (position === undefined) return el('span', { class: 'muted' }, text);
  const short = `${numberText(txidOf(position))} / ${position.slice(17, 25)}`;
  return el(
    'span',
    { title: position, 'data-position': position },
    el('span', { class: 'mono' }, short),
    el('div', { class: 'small' }, badge(mood, text)),
  );
}

/**
 * @param {{ section: HTMLElement, about: Element, list: Element }} parts
 * @param {SnapshotsReport} report
 * @param {number} nowMs
 */
export function showSnapshots({ section, about, list }, report, nowMs) {
  section.hidden = report.dir === null;
  if (report.dir === null) return;
  const { dir, verify, lastRun, nextRun } = report;
  const checks = {
    full: 'Each was restored and passed PRAGMA integrity_check before it counted',
    quick: 'Of each the checksums were compared before it counted',
    off: 'None was read back (snapshots.verify is off)',
  };
  const last = lastRun
    ? `The last scheduled run, ${ageText(nowMs - Date.parse(lastRun.startedAt))} ago, ${lastRun.ok ? 'went well' : `failed: ${lastRun.errors.join('; ')}`}. `
    : '';
  const next = nextRun ? `The next one is at ${clockText(nextRun, nowMs)}.` : '';
  show(about, [dir, verify, last, next], () => [
    badge(verify === 'off' ? 'warn' : 'good', verify === 'off' ? 'not verified' : 'verified'),
    ` ${checks[verify ?? 'off']}. In `,
    el('span', { class: 'mono' }, dir),
    `. ${last}${next}`,
  ]);
  const minute = Math.floor(nowMs / 60_000);
  show(list, [report.databases, minute], () =>
    report.databases.map((archive) => archiveCard(archive, verify, nowMs)),
  );
}

/**
 * @param {ArchiveReport} archive
 * @param {SnapshotsReport['verify']} verify
 * @param {number} nowMs
 */
function archiveCard({ name, snapshots, ranges, files, bytes }, verify, nowMs) {
  const ago = (/** @type {string} */ at) => `${ageText(nowMs - Date.parse(at))} ago`;
  const points = ranges.reduce((sum, range) => sum + range.points, 0);
  const newest = ranges[0]?.to.at;
  const oldest = ranges[ranges.length - 1]?.from.at;
  const summary =
    newest && oldest
      ? `${countText(points, 'restore point')}, from ${ago(oldest)} to ${ago(newest)}${ranges.length > 1 ? `, in ${ranges.length} stretches` : ''}`
      : 'No restore point yet';
  const rangeRows = ranges
    .slice(0, LISTED_MAX)
    .map(({ from, to, points: states }) => [
      `${clockText(from.at, nowMs)} – ${clockText(to.at, nowMs)}`,
      ago(to.at),
      numberText(states),
      txid(to.txid),
      '',
    ]);
  const snapshotRows = snapshots
    .slice(0, LISTED_MAX)
    .map(({ at, txid: id, bytes: size }) => [
      clockText(at, nowMs),
      ago(at),
      txid(id),
      bytesText(size),
      badge(
        verify === 'off' ? 'warn' : 'good',
        verify === 'off' ? 'no' : verify === 'quick' ? 'checksums' : 'restored',
      ),
    ]);
  return el(
    'article',
    { class: 'card archive' },
    el(
      'div',
      { class: 'archive-about' },
      el('h3', {}, name),
      el(
        'p',
        { class: 'muted' },
        `${summary}. ${countText(snapshots.length, 'snapshot')}, ${countText(files, 'file')}, ${bytesText(bytes)}.`,
      ),
    ),
    el(
      'details',
      {},
      el('summary', {}, 'Restore points'),
      table(
        `Stretches of ${name} that can be restored`,
        ['From – to', 'Last', 'States', 'Transaction'],
        rangeRows.map((row) => row.slice(0, 4)),
      ),
    ),
    el(
      'details',
      {},
      el('summary', {}, 'Snapshots'),
      table(`Snapshots of ${name}`, ['At', 'Age', 'Transaction', 'Size', 'Verified'], snapshotRows),
    ),
  );
}

/** @param {string} hex */
function txid(hex) {
  return numberText(Number.parseInt(hex, 16));
}

/**
 * The first cell of each row is its heading.
 *
 * @param {string} caption
 * @param {readonly string[]} headings
 * @param {readonly (readonly Child[])[]} rows
 */
function table(caption, headings, rows) {
  const head = el(
    'tr',
    { role: 'row' },
    ...headings.map((text) => el('th', { scope: 'col', role: 'columnheader' }, text)),
  );
  const body = rows.map(([first, ...rest]) =>
    el(
      'tr',
      { role: 'row' },
      el('th', { scope: 'row', role: 'rowheader' }, first),
      ...rest.map((cell, i) =>
        el('td', { role: 'cell', 'data-label': headings[i + 1] }, el('div', {}, cell)),
      ),
    ),
  );
  return el(
    'table',
    { role: 'table' },
    el('caption', {}, caption),
    el('thead', { role: 'rowgroup' }, head),
    el('tbody', { role: 'rowgroup' }, ...body),
  );
}

/**
 * @param {Mood} mood
 * @param {string} text
 */
function badge(mood, text) {
  return el('span', { class: `badge ${mood}` }, text);
}
