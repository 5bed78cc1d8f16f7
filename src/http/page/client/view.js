/**
 * The page but for its tables: who this node is, how things are in words, figures, charts, and whether the node answers.
 *
 * @typedef {import('../../info.ts').NodeReport} NodeReport
 * @typedef {import('../../history.ts').HistoryReport} HistoryReport
 */
import { drawChart, sample } from './chart.js';
import { byId, el, setText, show } from './dom.js';
import { nodesOf, troublesOf } from './facts.js';
import {
  ageText,
  bytesText,
  clockText,
  countText,
  durationText,
  numberText,
  rateText,
} from './words.js';

/** How long the axis of time is: the first that has room for all there is. */
const SPANS_MS = [120_000, 300_000, 600_000];
const SERIES_MAX = 5;

/** @param {NodeReport} info */
export function showWho(info) {
  const { hostname, role, version, path, passthrough, term } = info;
  const title = `${hostname}, ${role}`;
  setText(byId('title'), title);
  document.title = `${title} – litefs-lite`;
  const served = passthrough ? 'served by the kernel' : 'served by the daemon';
  setText(byId('about'), `litefs-lite ${version}, mounted on ${path}, ${served}, term ${term}`);
}

/**
 * @param {NodeReport} info
 * @param {number} nowMs
 */
export function showVerdict(info, nowMs) {
  const troubles = troublesOf(info, nowMs);
  const mood = troubles.length === 0 ? 'good' : troubles[0].mood;
  byId('verdict').className = mood;
  const title =
    troubles.length === 0
      ? wellText(info)
      : `${countText(troubles.length, 'thing needs', 'things need')} attention`;
  setText(byId('verdict-title'), title);
  show(byId('troubles'), troubles, () => troubles.map(({ text }) => el('li', {}, text)));
}

/** @param {NodeReport} info */
function wellText({ isPrimary, replicas, upstream }) {
  if (!isPrimary)
    return `All is well: this replica has everything that ${upstream?.hostname ?? 'the primary'} has`;
  if (replicas.length === 0) return 'All is well. No replica follows this node';
  const all = replicas.every(({ behindMs }) => behindMs === 0);
  return `All is well: ${countText(replicas.length, 'replica follows', 'replicas follow')}${all ? ', with everything' : ''}`;
}

/**
 * @param {NodeReport} info
 * @param {number} rate commits per second, of all databases
 */
export function showTiles(info, rate) {
  const nodes = nodesOf(info).filter(({ role, isSelf }) => role === 'replica' && !isSelf);
  const connected = nodes.filter(({ mood }) => mood !== 'bad').length;
  const behind = [info.upstream?.lagMs ?? 0, ...nodes.map(({ behindMs }) => behindMs ?? 0)];
  const bytes = info.databases.reduce((sum, { pages, pageSize }) => sum + pages * pageSize, 0);
  const followers =
    nodes.length === 0
      ? ['none', 'follow this node']
      : [`${connected} of ${nodes.length}`, 'connected'];
  const tiles = [
    [
      'Role',
      info.role,
      info.isPrimary
        ? 'takes writes'
        : `follows ${info.upstream?.hostname ?? info.upstream?.address ?? ''}`,
    ],
    ['Replicas', ...followers],
    [
      'Furthest behind',
      durationText(Math.floor(Math.max(...behind) / 100) * 100).replace('0 ms', 'nothing'),
      info.isPrimary ? 'of the replicas' : 'of the primary',
    ],
    ['Databases', numberText(info.databases.length), bytesText(bytes)],
    [
      'Commits per second',
      rateText(rate),
      info.isPrimary ? 'last ten seconds' : 'applied, last ten seconds',
    ],
  ];
  show(byId('tiles'), tiles, () =>
    tiles.map(([name, value, more]) =>
      el('div', {}, el('dt', {}, name), el('dd', {}, value, el('small', {}, more))),
    ),
  );
}

/** @param {NodeReport} info */
export function showNodesNote({ isPrimary, primary }) {
  const note = isPrimary
    ? ''
    : `Nodes that follow ${primary.hostname ?? 'the primary'} are on its own page.`;
  setText(byId('nodes-note'), note);
}

/**
 * @param {NodeReport} info
 * @param {HistoryReport} history
 */
export function showCharts(info, history) {
  const { everyMs, behindMs, commits } = history;
  const names = new Map(nodesOf(info).map(({ id, name }) => [id, name]));
  const known = Object.entries(behindMs)
    .filter(([id]) => names.has(id))
    .slice(0, SERIES_MAX);
  const lines = known.map(([id, values], i) => ({
    name: names.get(id) ?? id,
    style: i + 1,
    values,
  }));
  const latest = lines.map(({ name, values }) => `${name} ${lagText(values[values.length - 1])}`);
  const covered = commits.length * everyMs;
  const spanMs = SPANS_MS.find((span) => span >= covered) ?? SPANS_MS[SPANS_MS.length - 1];
  const common = { everyMs, spanMs };
  drawChart(byId('lag'), lines, {
    ...common,
    topMin: 1000,
    format: durationText,
    label: `How far behind the nodes were in the last minutes. Now: ${latest.join(', ') || 'no node is followed'}`,
  });
  show(byId('lag-legend'), latest, () =>
    lines.length === 0
      ? [el('li', { class: 'muted' }, 'No replica follows this node')]
      : lines.map(({ style }, i) => el('li', {}, sample(style), latest[i])),
  );
  const perSecond = commits.map((count) => (count * 1000) / everyMs);
  const most = Math.max(0, ...perSecond);
  const rates = `at most ${rateText(most)} per second, now ${rateText(perSecond[perSecond.length - 1] ?? 0)}`;
  drawChart(byId('rate'), [{ name: 'commits', style: 1, values: perSecond }], {
    ...common,
    topMin: 5,
    format: rateText,
    isFilled: true,
    label: `Commits per second in the last minutes: ${rates}`,
  });
  show(byId('rate-legend'), rates, () => [el('li', {}, sample(1), `all databases, ${rates}`)]);
}

/** @param {number | null | undefined} ms */
function lagText(ms) {
  return ms === null || ms === undefined
    ? 'not known'
    : ms === 0
      ? 'behind nothing'
      : `${ageText(ms)} behind`;
}

/** @param {boolean} isLive */
export function showLive(isLive) {
  byId('live').className = isLive ? 'good' : 'bad';
  setText(byId('live-text'), isLive ? 'live' : 'not connected, trying again');
}

/**
 * The node shows its status to those who have its token.
 *
 * @param {{ isWrong: boolean } | undefined} closed undefined: it has been shown what it wants, or wants nothing
 * @param {boolean} hasToken links show none
 */
export function showClosed(closed, hasToken) {
  byId('closed').hidden = closed === undefined;
  byId('main').hidden = closed !== undefined;
  byId('links').hidden = hasToken;
  if (!closed) return;
  setText(byId('closed-why'), closed.isWrong ? 'That is not the token of this node.' : '');
  byId('live').className = 'bad';
  setText(byId('live-text'), 'needs a token');
  setText(byId('about'), '');
}

/** The node says what this page does not understand. */
export function showConfusion() {
  const banner = byId('silent');
  banner.hidden = false;
  setText(banner, 'The node is of another version than this page. Reload the page.');
}

/**
 * The node does not answer: what is shown is old.
 *
 * @param {{ name: string, sinceMs: number } | undefined} silence undefined: it answers
 */
export function showSilence(silence) {
  const banner = byId('silent');
  banner.hidden = silence === undefined;
  byId('main').className = silence ? 'stale' : '';
  if (!silence) return;
  const { name, sinceMs } = silence;
  const since = clockText(new Date(sinceMs).toISOString(), Date.now());
  setText(
    banner,
    `${name} does not answer since ${since}. What is below is from then. This page tries again each second.`,
  );
}
