/**
 * The tables of nodes and of databases.
 *
 * @typedef {import('../../info.ts').NodeReport} NodeReport
 */
import { el, show } from './dom.js';
import { databaseNames, nodesOf, placeOf, txidOf } from './facts.js';
import { badge, table } from './table.js';
import { ageText, bytesText, clockText, numberText, rateText } from './words.js';

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
    return { ...node, behind, since, mood };
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
          el('span', { class: 'mono wrap' }, row.address),
        ),
      ]),
    ),
  ]);
}

/**
 * @param {Element} parent
 * @param {NodeReport} info
 * @param {ReadonlyMap<string, number>} rates commits per second, by database
 * @param {number} nowMs
 */
export function showDatabases(parent, info, rates, nowMs) {
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
      since: db?.since ? `since ${clockText(db.since, nowMs)}: ` : '',
      holder: db?.haltHolder ?? '',
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
        row.reason && el('div', { class: 'small' }, row.since, row.reason),
        row.holder && el('div', { class: 'small' }, `halt lock: only ${row.holder} may write it`),
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
