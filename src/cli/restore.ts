/** `litefs-lite restore`: a database as it was, from snapshots and what is between them. Needs no running node. */

import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import { formatTxid } from '../ltx/position.ts';
import type { CheckLevel, Progress } from '../snapshots/image.ts';
import type { Target } from '../snapshots/plan.ts';
import { type Restored, restore as restoreTo } from '../snapshots/restore.ts';
import { formatTime, parseTime } from '../snapshots/when.ts';
import { type ArchiveFlags, archivesDir, existingArchive } from './archives.ts';
import { removeDatabaseAtEnd } from './janitor.ts';
import { type NodeFlags, nodeAt, repeated } from './node-url.ts';
import { printError, printLine } from './print.ts';
import { progressBar } from './progress.ts';
import { restoreInPlace } from './restore-in-place.ts';
import { shellWord } from './shell-word.ts';
import { counted, formatBytes } from './table.ts';

interface RestoreFlags extends ArchiveFlags, NodeFlags {
  readonly at?: string;
  readonly txid?: string;
  readonly latest?: boolean;
  readonly output?: string;
  readonly inPlace?: boolean;
  readonly force?: boolean;
  readonly check: CheckLevel;
}

/** Prints what was restored. Throws RESTORE_POINT, LTX_CORRUPT, DISK, USAGE. */
export async function restore(database: string, flags: RestoreFlags): Promise<number> {
  const { output, inPlace = false } = flags;
  if (output !== undefined && inPlace) {
    throw new LiteFsError('USAGE', '--output and --in-place exclude one another');
  }
  if (output === undefined && !inPlace) {
    throw new LiteFsError('USAGE', 'where to: --output FILE, or --in-place on the primary');
  }
  const target = targetOf(flags, Date.now());
  const archive = existingArchive(archivesDir(flags), database);
  const bar = progressBar(process.stderr);
  const options = {
    check: flags.check,
    force: flags.force ?? false,
    progress: ({ pages, pagesTotal }: Progress) => bar.show(pages, pagesTotal),
    begun: removeDatabaseAtEnd,
    damaged(message: string) {
      bar.end();
      printError(`${message}. Trying without it.`);
    },
  };
  if (output !== undefined) {
    const file = path.resolve(output);
    const restored = restoreTo(archive, target, file, options);
    bar.end();
    printLine(`${file}: ${described(database, restored, flags.check)}`);
    return 0;
  }
  const { restored, undoTxid, undoDir } = await restoreInPlace(
    nodeAt(flags),
    database,
    archive,
    target,
    options,
  );
  bar.end();
  const again = { ...flags, dir: flags.dir === undefined ? undefined : undoDir };
  printLine(described(database, restored, flags.check));
  printLine(
    `  to undo it: litefs-lite restore ${shellWord(database)} --txid ${undoTxid} --in-place${repeated(again)}`,
  );
  return 0;
}

function described(database: string, restored: Restored, check: CheckLevel): string {
  const { txid, timestampMs, bytes, files, unchecked } = restored;
  const when = formatTime(timestampMs);
  const isFull = check === 'full' && unchecked === undefined;
  const checked = isFull ? 'checksums and integrity_check ok' : 'checksums ok';
  const why =
    unchecked === undefined ? '' : `; integrity_check cannot check all of it: ${unchecked}`;
  return (
    `${database} as of ${when}, transaction ${formatTxid(txid)}, ` +
    `${formatBytes(bytes)} from ${counted(files, 'file')}, ${checked}${why}`
  );
}

/** What --at, --txid or --latest name; the newest state without any. Throws USAGE. */
export function targetOf(
  flags: { readonly at?: string; readonly txid?: string; readonly latest?: boolean },
  nowMs: number,
): Target {
  const { at, txid, latest } = flags;
  if ([at, txid, latest || undefined].filter((flag) => flag !== undefined).length > 1) {
    throw new LiteFsError('USAGE', '--at, --txid and --latest exclude one another');
  }
  if (at !== undefined) return { kind: 'time', timeMs: parseTime(at, nowMs) };
  if (txid === undefined) return { kind: 'latest' };
  const number = /^[0-9a-fA-F]{1,16}$/.test(txid) ? Number.parseInt(txid, 16) : Number.NaN;
  if (!Number.isSafeInteger(number)) {
    throw new LiteFsError('USAGE', `${txid} is no transaction: up to 16 hex digits`, {
      hint: 'litefs-lite snapshots --json lists them.',
    });
  }
  return { kind: 'txid', txid: number };
}
