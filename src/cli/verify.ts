/** `litefs-lite verify`: recomputes the checksums of a node's databases and compares them with its primary's. */
import type { NodeReport, VerifyReport } from '../http/info.ts';
import type { ArchiveFlags } from './archives.ts';
import { getGuardedJson, getJson, NO_LIMIT } from './client.ts';
import { type NodeFlags, nodeAt } from './node-url.ts';
import { counted } from './table.ts';
import { verifySnapshots } from './verify-snapshots.ts';

interface VerifyFlags extends ArchiveFlags, NodeFlags {
  readonly snapshots?: boolean;
  readonly json?: boolean;
}

interface Verdict extends VerifyReport {
  /** The primary's position, on a replica that knows it. */
  readonly primary: string | null;
  /** null: the two are not at the same transaction just now, or there is no primary to compare with. */
  readonly sameAsPrimary: boolean | null;
}

/** 0: everything is what it should be; 65: something is not. */
export async function verify(database: string | undefined, flags: VerifyFlags): Promise<number> {
  if (flags.snapshots) return verifySnapshots(database, flags);
  const node = nodeAt(flags);
  const info = await getJson<NodeReport>(node.url, '/info');
  const names = database === undefined ? info.databases.map(({ name }) => name) : [database];
  const verdicts: Verdict[] = [];
  for (const name of names) {
    const report = await getGuardedJson<VerifyReport>(
      node,
      `/verify?name=${encodeURIComponent(name)}`,
      NO_LIMIT,
    );
    const primary = info.upstream?.positions[name] ?? null;
    const verdict = { ...report, primary, sameAsPrimary: compare(report.position, primary) };
    verdicts.push(verdict);
    if (!flags.json) process.stdout.write(`${formatVerdict(verdict)}\n`);
  }
  if (flags.json) process.stdout.write(`${JSON.stringify(verdicts, null, 2)}\n`);
  const good = verdicts.every(({ ok, sameAsPrimary }) => ok && sameAsPrimary !== false);
  return good ? 0 : 65;
}

function compare(ours: string, theirs: string | null): boolean | null {
  if (theirs === null || ours.slice(0, 16) !== theirs.slice(0, 16)) return null;
  return ours === theirs;
}

function formatVerdict(verdict: Verdict): string {
  const { name, position, pages, ok, reason, badPages, sameAsPrimary } = verdict;
  if (!ok) return `${name}: BAD at ${position}: ${reason}; pages ${badPages.join(', ')}`;
  if (sameAsPrimary === false) {
    return `${name}: DIFFERS at ${position}: the primary has ${verdict.primary}`;
  }
  const same = sameAsPrimary ? ', where the primary is' : '';
  return `${name}: ok at ${position}, ${counted(pages, 'page')}${same}`;
}
