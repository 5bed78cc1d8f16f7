/** What must be true of a node that has started after a power cut, database by database. */
import type { TestNode } from '../cluster.ts';
import type { BankSettings } from './app.ts';
import type { Remains } from './crash.ts';
import type { Life, NodeRole } from './life.ts';
import type { Probe, Sighting } from './probe.ts';
import { isBefore, type Promised, promisedAt } from './promises.ts';

/** What must not be, and what each means. */
export const FINDINGS = {
  'not-started': 'the node does not start',
  'not-stopped': 'the node does not stop cleanly',
  'cannot-write': 'an application gets an error',
  'broken-files': "SQLite alone finds a primary's file corrupt though its applications flush",
  'not-durable': 'a commit that was on the disk when it returned is not in the files',
  corrupt: 'the file is corrupt, or no state that there was, where SQLite alone finds a sound one',
  lost: 'an older state of a primary than SQLite alone finds',
  missing: 'no database where SQLite alone finds a sound one',
  'other-pages': 'state ok at a position whose pages are others',
  unlisted: 'a database is in the mount that the node does not tell of',
  'txid-back': "a TXID below one that the node's own log has",
  'verify-lies': 'verify says that all is well, and the pages are others than the position says',
  'not-in-sync': 'primary and replica do not get to one position',
  differs: 'primary and replica have other pages at one position',
} as const;
export type FindingKind = keyof typeof FINDINGS;

export interface Finding {
  readonly kind: FindingKind;
  /** '' for the node. */
  readonly database: string;
  readonly detail: string;
}

export interface CheckContext {
  readonly life: Life;
  /** The cut. */
  readonly at: number;
  /** Whose disk it is. */
  readonly former: NodeRole;
  readonly remains: Remains;
  readonly probe: Probe;
}

export interface Checked {
  readonly findings: readonly Finding[];
  /** Databases at a TXID that the life had with other content. */
  readonly reused: number;
  /** Databases of a former replica in an older state than SQLite alone finds: it promises nothing of its newest ones. */
  readonly older: number;
}

export async function checkNode(node: TestNode, context: CheckContext): Promise<Checked> {
  const findings: Finding[] = [];
  let [reused, older] = [0, 0];
  for (const bank of context.life.settings.banks) {
    const { name } = bank;
    const found = (kind: FindingKind, detail: string) => {
      findings.push({ kind, database: name, detail });
    };
    const promised = promisedAt(context.life, context.at, name);
    const alone = context.remains.sightings.get(name) as Sighting;
    if (context.former === 'primary') checkPromise(promised, alone, isSafe(bank), found);
    const position = await node.position(name);
    const info = (await node.info()).databases.find((database) => database.name === name);
    const seen = await context.probe.look(node.file(name));
    const here = `${position || 'no position'}, state ${info?.state ?? 'none'}${info?.reason ? ` (${info.reason})` : ''}`;
    const content = checkContent(promised, alone, seen);
    if (content === 'lost' && context.former === 'replica') older++;
    else if (content) found(content, `${textOf(seen)} at ${here}; alone ${textOf(alone)}`);
    // What an application has lost by itself, with synchronous=OFF, may have no pages that one could go by.
    const isOwnLoss = context.former === 'primary' && alone.fault && !seen.checksum;
    if (!isOwnLoss) checkPosition(position, info?.state, seen, here, found);
    if (position && context.life.history.has(name, position) === false) reused++;
    const txid = position ? Number.parseInt(position.slice(0, 16), 16) : 0;
    const logged = context.remains.txids.get(name) ?? 0;
    if (seen.exists && txid < logged) {
      found('txid-back', `${here}, and its log has ${logged.toString(16)}`);
    }
    await checkVerify(node, name, found, context.probe);
  }
  return { findings, reused, older };
}

type Found = (kind: FindingKind, detail: string) => void;

/** Whether SQLite keeps a file sound over a power cut. With a journal and NORMAL it does nearly always. */
export function isSafe({ journalMode, synchronous }: BankSettings): boolean {
  return synchronous !== 'off' && (journalMode === 'wal' || synchronous !== 'normal');
}

/** The mount must have made durable what SQLite had it flush. */
export function checkPromise(
  { state, lives }: Promised,
  alone: Sighting,
  keepsSound: boolean,
  found: Found,
): void {
  if (alone.fault) {
    if (keepsSound) found('broken-files', textOf(alone));
    return;
  }
  const wrong = state && (!alone.state || isBefore(alone.state, state, lives));
  if (wrong) found('not-durable', `${textOf(alone)}; ${state.k} had returned`);
}

function checkContent(
  { lives }: Promised,
  alone: Sighting,
  seen: Sighting,
): 'missing' | 'corrupt' | 'lost' | undefined {
  if (!alone.state || alone.fault) return undefined;
  if (!seen.exists) return 'missing';
  if (seen.fault) return 'corrupt';
  return !seen.state || isBefore(seen.state, alone.state, lives) ? 'lost' : undefined;
}

function checkPosition(
  position: string,
  state: string | undefined,
  seen: Sighting,
  here: string,
  found: Found,
): void {
  if (!seen.exists) {
    if (position && state === 'ok') found('other-pages', `no file at ${here}`);
  } else if (state === undefined) {
    if (seen.checksum) found('unlisted', `${textOf(seen)} at ${here}`);
  } else if (state === 'ok' && position.slice(17) !== seen.checksum) {
    found('other-pages', `the pages make ${seen.checksum} at ${here}`);
  }
}

async function checkVerify(
  node: TestNode,
  name: string,
  found: Found,
  probe: Probe,
): Promise<void> {
  const response = await node.api(`/verify?name=${name}`);
  if (response.status !== 200) return;
  const { ok, position } = (await response.json()) as { ok: boolean; position: string };
  const { checksum } = await probe.look(node.file(name));
  if (ok && checksum && position.slice(17) !== checksum) {
    found('verify-lies', `ok at ${position}, and the pages make ${checksum}`);
  }
}

export async function samePages(
  probe: Probe,
  primary: TestNode,
  replica: TestNode,
  name: string,
): Promise<string | undefined> {
  const ours = await probe.look(primary.file(name));
  const theirs = await probe.look(replica.file(name));
  if (ours.exists === theirs.exists && ours.hash === theirs.hash) return undefined;
  return `primary ${textOf(ours)}, replica ${textOf(theirs)}`;
}

function textOf({ exists, fault, state, checksum }: Sighting): string {
  if (!exists) return 'absent';
  const what = state ? `state ${state.k} of ${state.life}/${state.epoch}` : 'no state';
  return `${what} ${checksum ?? ''}${fault ? ` CORRUPT: ${fault}` : ''}`;
}
