/**
 * The status page: puts what comes from the node where it is shown.
 *
 * @typedef {import('../../info.ts').NodeReport} NodeReport
 * @typedef {import('../../history.ts').HistoryReport} HistoryReport
 * @typedef {import('../../snapshots.ts').SnapshotsReport} SnapshotsReport
 */
import { Access, tabStore } from './access.js';
import { byId } from './dom.js';
import { Feed } from './feed.js';
import { lastRate, Rates } from './rates.js';
import { showSnapshots } from './snapshots.js';
import { showDatabases, showNodes } from './tables.js';
import {
  showCharts,
  showClosed,
  showConfusion,
  showLive,
  showNodesNote,
  showSilence,
  showTiles,
  showVerdict,
  showWho,
} from './view.js';

const rates = new Rates();
const snapshotParts = {
  section: byId('snapshots'),
  about: byId('snapshots-about'),
  list: byId('snapshots-list'),
};

/** @type {{ info: NodeReport, nowMs: number, atMs: number } | undefined} */
let latest;
/** @type {HistoryReport | undefined} */
let history;
/** @type {SnapshotsReport | undefined} */
let snapshots;
/** @type {{ sinceMs: number } | undefined} */
let silence;
const access = new Access(tabStore());

function draw() {
  showSilence(silence && { name: latest?.info.hostname ?? 'The node', ...silence });
  if (!latest) return;
  const { info, nowMs } = latest;
  showWho(info);
  showVerdict(info, nowMs);
  showTiles(info, history ? lastRate(history) : 0);
  showNodes(byId('nodes'), info, nowMs);
  showNodesNote(info);
  showDatabases(byId('databases'), info, rates.each(), nowMs);
  if (history) showCharts(info, history);
  if (snapshots) showSnapshots(snapshotParts, snapshots, nowMs);
}

const listener = {
  /**
   * @param {NodeReport} info
   * @param {number} nowMs
   */
  info(info, nowMs) {
    const atMs = performance.now();
    latest = { info, nowMs, atMs };
    silence = undefined;
    showClosed(undefined, access.hasToken);
    rates.add(atMs, info);
    draw();
  },
  /** @param {HistoryReport} report */
  history(report) {
    history = report;
    draw();
  },
  /** @param {SnapshotsReport} report */
  snapshots(report) {
    snapshots = report;
    draw();
  },
  live: showLive,
  failed() {
    silence = { sinceMs: silence?.sinceMs ?? Date.now() };
    showLive(false);
    draw();
  },
  refused() {
    latest = undefined;
    silence = undefined;
    draw();
    showClosed({ isWrong: access.hasToken }, true);
  },
  confused: showConfusion,
};

byId('closed').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = /** @type {HTMLInputElement} */ (byId('token'));
  const token = field.value.trim();
  field.value = '';
  if (token !== '') access.enter(token);
});

new Feed(listener, access).start();

addEventListener('resize', draw);
