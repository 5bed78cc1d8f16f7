/** `litefs-lite verify`: has a node read its databases; a replica has its primary read them too, and compares. */

import type { NodeReport, PagesReport, VerifyReport } from '../http/info.ts';
import { plainValue } from '../plain-text.ts';
import type { ArchiveFlags } from './archives.ts';
import { getGuardedJson, getJson, NO_LIMIT } from './client.ts';
import { type NodeFlags, nodeAt } from './node-url.ts';
import { printJson, printText } from './print.ts';
import { counted } from './table.ts';
import { verifySnapshots } from './verify-snapshots.ts';

interface VerifyFlags extends ArchiveFlags, NodeFlags {
  readonly snapshots?: boolean;
  readonly json?: boolean;
}

/** Of a node that was not restarted since an upgrade, the rest is missing. */
type Answer = PagesReport & Pick<VerifyReport, 'name'> & Partial<VerifyReport>;

/** Something is not what it should be. */
const EXIT_WRONG = 65;
/** Nothing is wrong that was read, and it cannot be told whether a replica is the same as its primary. */
const EXIT_CANNOT_TELL = 75;

/** The exit status: see verifyStatus(). */
export async function verify(database: string | undefined, flags: VerifyFlags): Promise<number> {
  if (flags.snapshots) return verifySnapshots(database, flags);
  const node = nodeAt(flags);
  const info = await getJson<NodeReport>(node, '/info');
  const names = database === undefined ? info.databases.map(({ name }) => name) : [database];
  const notAsked = info.isPrimary ? null : 'the node runs an older release: restart it';
  const reports: VerifyReport[] = [];
  for (const name of names) {
    const where = `/verify?name=${encodeURIComponent(name)}`;
    const answer = await getGuardedJson<Answer>(node, where, NO_LIMIT);
    const report = { primary: null, sameAsPrimary: null, notCompared: notAsked, ...answer };
    reports.push(report);
    if (!flags.json) printText(`${verifyText(plainValue(report))}\n`);
  }
  if (flags.json) printJson(reports);
  return verifyStatus(reports);
}

/** 0: all is what it should be; 65: something is not; 75: nothing is wrong that was read, but some were not compared. */
export function verifyStatus(reports: readonly VerifyReport[]): number {
  if (!reports.every(isGood)) return EXIT_WRONG;
  return reports.every(({ notCompared }) => notCompared === null) ? 0 : EXIT_CANNOT_TELL;
}

function isGood({ ok, sameAsPrimary, primary }: VerifyReport): boolean {
  return ok && sameAsPrimary !== false && primary?.ok !== false;
}

/** One line for each thing that is wrong, or one line. */
export function verifyText(report: VerifyReport): string {
  const { name, position, pages, ok, primary, sameAsPrimary, notCompared } = report;
  const wrong: string[] = [];
  if (!ok) wrong.push(`${name}: BAD at ${badText(report)}`);
  if (primary && !primary.ok) wrong.push(`${name}: BAD on the primary at ${badText(primary)}`);
  if (wrong.length === 0 && sameAsPrimary === false && primary) {
    const [txid, theirs] = primary.position.split('/');
    wrong.push(
      `${name}: DIFFERS: after transaction ${txid} the primary had ${theirs}, this node ${primary.checksumHere}`,
    );
  }
  if (wrong.length > 0) return wrong.join('\n');
  const well = `${name}: ok at ${position}, ${counted(pages, 'page')}`;
  if (sameAsPrimary) return `${well}, the same as on the primary (both sides' pages were read)`;
  return notCompared === null ? well : `${well}, not compared: ${notCompared}`;
}

function badText({ position, reason, badPages }: PagesReport): string {
  return `${position}: ${reason}; pages ${badPages.join(', ')}`;
}
