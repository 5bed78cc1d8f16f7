/** `litefs-lite snapshots` lists what can be restored, `litefs-lite snapshot` has a running node cut one now. */

import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import type { SnapshotRunReport, SnapshotsReport } from '../http/snapshots.ts';
import { plainText, plainValue } from '../plain-text.ts';
import { copyNewestSnapshot } from '../snapshots/copy.ts';
import { describeArchive } from '../snapshots/report.ts';
import { listVerified } from '../snapshots/verified.ts';
import { formatTime } from '../snapshots/when.ts';
import {
  type ArchiveFlags,
  archivesDir,
  databasesIn,
  existingArchive,
  newArchive,
} from './archives.ts';
import { getJson, NO_LIMIT, postJson } from './client.ts';
import { removeAtEnd } from './janitor.ts';
import { type NodeAddress, type NodeFlags, nodeAt } from './node-url.ts';
import { printError, printJson, printLine, printText } from './print.ts';
import { counted, formatBytes, formatTable } from './table.ts';

/** Reads the archives themselves; no node need run. */
export function snapshots(
  database: string | undefined,
  flags: ArchiveFlags & { readonly json?: boolean },
): number {
  const dir = archivesDir(flags);
  const names = database === undefined ? databasesIn(dir) : [database];
  const archives = names.map((name) =>
    describeArchive(name, listVerified(existingArchive(dir, name))),
  );
  if (flags.json) printJson({ dir, databases: archives });
  else printText(formatArchives(plainText(dir), plainValue(archives), Date.now()));
  return 0;
}

function formatArchives(
  dir: string,
  archives: readonly ReturnType<typeof describeArchive>[],
  nowMs: number,
): string {
  if (archives.length === 0) return `no snapshots in ${dir} yet\n`;
  const parts = archives.map(({ name, ranges, snapshots, files, bytes }) => {
    const rows = ranges.map(({ from, to, points, bytes: size }) => [
      formatTime(Date.parse(from.at)),
      formatTime(Date.parse(to.at)),
      age(Date.parse(to.at), nowMs),
      `${points}`,
      formatBytes(size),
      to.txid,
    ]);
    const count = `${counted(snapshots.length, 'snapshot')}, ${counted(files, 'file')}`;
    const title = `${name}: ${count}, ${formatBytes(bytes)}; ${verifiedText(snapshots, nowMs)}`;
    return `${title}\n${formatTable(['FROM', 'TO', 'AGE', 'STATES', 'SIZE', 'LAST TRANSACTION'], rows)}\n`;
  });
  return parts.join('\n');
}

function verifiedText(
  snapshots: ReturnType<typeof describeArchive>['snapshots'],
  nowMs: number,
): string {
  const [newest] = snapshots;
  const verified = snapshots.filter((snapshot) => snapshot.verified).length;
  const whole =
    verified === snapshots.length ? '' : `, ${verified} of ${snapshots.length} verified`;
  if (!newest) return 'no snapshot yet';
  if (!newest.verified) return `the newest snapshot is not known to be verified${whole}`;
  const { check, at } = newest.verified;
  return `the newest snapshot was verified (${check}) ${age(Date.parse(at), nowMs)} ago${whole}`;
}

/** How long ago, in the largest unit that says something. */
export function age(ms: number, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - ms) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** 0: cut; 74 when the node could not. With `dir` the snapshots are copied there as well. */
export async function snapshot(
  database: string | undefined,
  flags: NodeFlags & { readonly dir?: string; readonly json?: boolean },
): Promise<number> {
  const dir = flags.dir === undefined ? undefined : path.resolve(flags.dir);
  if (dir !== undefined && !fs.existsSync(dir)) {
    throw new LiteFsError('USAGE', `there is no directory ${dir}`, { hint: 'Is it mounted?' });
  }
  const query = database === undefined ? '' : `?name=${encodeURIComponent(database)}`;
  const node = nodeAt(flags);
  const run = await postJson<SnapshotRunReport>(node, `/snapshot${query}`, NO_LIMIT);
  if (dir !== undefined) await copySnapshots(run, node, dir);
  if (flags.json) printJson(run);
  else {
    for (const { name, txid, bytes } of run.snapshots) {
      printLine(`${name}: snapshot at ${txid}, ${formatBytes(bytes)}`);
    }
    for (const name of run.unchanged) {
      printLine(`${name}: nothing has changed since the newest snapshot`);
    }
    if (dir !== undefined) printLine(`copied to ${dir}`);
    for (const error of run.errors) printError(error);
  }
  return run.ok ? 0 : EXIT_DISK;
}

const EXIT_DISK = 74;

/** The newest snapshots of what the run was about, out of the node's archives, which are on this machine. */
async function copySnapshots(run: SnapshotRunReport, node: NodeAddress, to: string): Promise<void> {
  const { dir } = await getJson<SnapshotsReport>(node, '/snapshots');
  if (dir === null) throw new LiteFsError('WRONG_STATE', 'this node cuts no snapshots');
  for (const name of [...run.snapshots.map((each) => each.name), ...run.unchanged]) {
    copyNewestSnapshot(existingArchive(dir, name), newArchive(to, name), removeAtEnd);
  }
}
