/** `litefs-lite status`: the node, its databases, who follows whom. */

import { setTimeout } from 'node:timers/promises';
import { LiteFsError } from '../errors.ts';
import {
  type DatabaseReport,
  type NodeReport,
  positionIn,
  type UpstreamReport,
  whyDisconnected,
} from '../http/info.ts';
import { plainText, plainValue } from '../plain-text.ts';
import { formatSecond } from '../snapshots/when.ts';
import { getJson } from './client.ts';
import { type NodeAddress, type NodeFlags, nodeAt } from './node-url.ts';
import { printJson, printText } from './print.ts';
import { counted, formatBytes, formatTable } from './table.ts';

interface StatusFlags extends NodeFlags {
  readonly json?: boolean;
  readonly watch?: boolean;
}

const WATCH_MS = 1000;
/** Home, and what is left of each line and below is cleared: nothing flickers. */
const HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';
const CLEAR_ALL = '\x1b[2J';

/** 0: all is well; 1: something needs attention. */
export async function status(flags: StatusFlags): Promise<number> {
  const node = nodeAt(flags);
  if (flags.watch) return watch(node);
  const report = await getJson<NodeReport>(node, '/info');
  if (flags.json) printJson(report);
  else printText(formatStatus(report));
  const isWell =
    warningsOf(report).length === 0 && report.databases.every(({ state }) => state === 'ok');
  return isWell ? 0 : 1;
}

/** One screen, again each second, until the program is stopped. */
async function watch(node: NodeAddress): Promise<never> {
  process.stdout.write(CLEAR_ALL);
  for (;;) {
    const text = await getJson<NodeReport>(node, '/info').then(formatStatus, (error) => {
      if (!(error instanceof LiteFsError)) throw error;
      return `${plainText(error.message)}\n`;
    });
    const lines = [`${formatSecond(Date.now())}  ${node.url}`, '', ...text.split('\n')];
    const rows = process.stdout.isTTY ? process.stdout.rows - 1 : lines.length;
    const screen = lines.slice(0, rows).map((line) => `${line}${CLEAR_LINE}\n`);
    process.stdout.write(`${HOME}${screen.join('')}${CLEAR_BELOW}`);
    await setTimeout(WATCH_MS);
  }
}

/** The report as text for a terminal. */
export function formatStatus(told: NodeReport): string {
  const report = plainValue(told);
  const lines = [
    `${report.hostname} is the ${report.role}${report.isPrimary ? '' : followed(report)}`,
    `mounted on ${report.path}, ${report.passthrough ? 'served by the kernel (passthrough)' : 'served by the daemon'}`,
    '',
  ];
  if (report.databases.length === 0) lines.push('no databases yet');
  else
    lines.push(
      formatTable(
        DATABASE_COLUMNS,
        byName(report.databases).map((db) => databaseRow(report, db)),
      ),
    );
  if (report.replicas.length > 0) {
    lines.push(
      '',
      formatTable(['REPLICA', 'ADDRESS', 'CONNECTED SINCE', 'BEHIND'], replicaRows(report)),
    );
  }
  for (const warning of unsaid(report)) lines.push('', `! ${warning}`);
  return `${lines.join('\n')}\n`;
}

const DATABASE_COLUMNS = ['DATABASE', 'POSITION', 'BEHIND', 'SIZE', 'MODE', 'LOG', 'STATE'];

function databaseRow(report: NodeReport, db: DatabaseReport): string[] {
  return [
    db.name,
    db.position,
    behindText(report.upstream, db),
    formatBytes(db.pageSize * db.pages),
    db.pages === 0 ? '-' : db.journalMode,
    formatBytes(db.log.bytes),
    stateOf(report.upstream, db),
  ];
}

/** What the primary had when it was last heard tells nothing of what it has now. */
function behindText(upstream: UpstreamReport | null, { name, position }: DatabaseReport): string {
  if (upstream && !upstream.connected) return '?';
  const theirs = upstream ? positionIn(upstream.positions, name) : undefined;
  return theirs === undefined ? '-' : `${behind(theirs, position)}`;
}

function byName(databases: readonly DatabaseReport[]): DatabaseReport[] {
  return [...databases].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function stateOf(upstream: UpstreamReport | null, db: DatabaseReport): string {
  const { state, reason, since, haltHolder } = db;
  // A node of an earlier release does not tell them. The warning says why.
  const trouble = upstream?.troubles?.find(({ name }) => name === db.name);
  if (trouble) return `not replicated by ${trouble.hostname} at present`;
  const at = since === undefined ? state : `${state} since ${formatSecond(Date.parse(since))}`;
  const text = reason ? `${at}: ${reason}` : at;
  return haltHolder === null ? text : `${text}, only ${haltHolder} may write it (halt lock)`;
}

/** What the node says, and who of those that followed it is gone. */
function warningsOf(report: NodeReport): string[] {
  const gone = report.absent.map((absent) => {
    const count = transactionsBehind(report, absent.positions);
    const lacks = count === 0 ? 'it has everything' : `it lacks ${counted(count, 'transaction')}`;
    const since = formatSecond(Date.parse(absent.goneAt));
    return `${absent.hostname} (${absent.address}) is not connected since ${since}: ${lacks}`;
  });
  return [...report.warnings, ...gone];
}

/** Those that the first line and the table do not say already. */
function unsaid(report: NodeReport): string[] {
  const disconnected = report.upstream && whyDisconnected(report.upstream);
  const said = new Set(report.databases.map(({ name, reason }) => `${name}: ${reason}`));
  if (disconnected) said.add(disconnected);
  return [...new Set(warningsOf(report))].filter((text) => !said.has(text));
}

function followed({ upstream }: NodeReport): string {
  if (!upstream) return '';
  const disconnected = whyDisconnected(upstream);
  if (disconnected) return `, ${disconnected}`;
  const lag =
    upstream.lagMs === null ? 'not in sync yet' : `${Math.round(upstream.lagMs)} ms behind`;
  return ` of ${upstream.hostname ?? upstream.address}, ${lag}`;
}

function replicaRows(report: NodeReport): string[][] {
  return report.replicas.map((replica) => {
    const transactions = transactionsBehind(report, replica.positions);
    return [
      replica.hostname,
      replica.address,
      formatSecond(Date.parse(replica.connectedAt)),
      transactions === 0 ? 'nothing' : counted(transactions, 'transaction'),
    ];
  });
}

/** Over all databases. */
function transactionsBehind(
  { databases }: NodeReport,
  theirs: Readonly<Record<string, string>>,
): number {
  return databases.reduce(
    (sum, { name, position }) => sum + behind(position, positionIn(theirs, name) ?? '0/0'),
    0,
  );
}

/** Transactions between two positions. */
function behind(theirs: string, ours: string): number {
  const txid = (position: string) => Number.parseInt(position, 16);
  return Math.max(0, txid(theirs) - txid(ours));
}
