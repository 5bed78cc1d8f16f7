/** `litefs-lite restore`: a database as it was, from snapshots and what is between them. Needs no running node. */
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import { formatTxid } from '../ltx/position.ts';
import type { CheckLevel, Progress } from '../snapshots/image.ts';
import type { Target } from '../snapshots/plan.ts';
import { restore as restoreTo } from '../snapshots/restore.ts';
import { parseTime } from '../snapshots/when.ts';
import { type ArchiveFlags, archivesDir, existingArchive } from './archives.ts';
import { formatBytes } from './table.ts';

interface RestoreFlags extends ArchiveFlags {
  readonly at?: string;
  readonly txid?: string;
  readonly latest?: boolean;
  readonly output: string;
  readonly force?: boolean;
  readonly check: CheckLevel;
}

/** Prints what was restored. Throws RESTORE_POINT, LTX_CORRUPT, DISK, USAGE. */
export function restore(database: string, flags: RestoreFlags): number {
  const target = targetOf(flags, Date.now());
  const archive = existingArchive(archivesDir(flags), database);
  const output = path.resolve(flags.output);
  const bar = progressBar(process.stderr);
  const restored = restoreTo(archive, target, output, {
    check: flags.check,
    force: flags.force ?? false,
    progress: bar.show,
    damaged(message) {
      bar.end();
      process.stderr.write(`litefs-lite: ${message}. Trying without it.\n`);
    },
  });
  bar.end();
  const { txid, timestampMs, bytes, files } = restored;
  const checked = {
    full: 'checksums and integrity_check ok',
    quick: 'checksums ok',
    off: 'checksums ok',
  };
  process.stdout.write(
    `${output}: ${database} as of ${new Date(timestampMs).toISOString()}, transaction ${formatTxid(txid)}, ` +
      `${formatBytes(bytes)} from ${files} ${files === 1 ? 'file' : 'files'}, ${checked[flags.check]}\n`,
  );
  return 0;
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
      hint: 'litefs-lite snapshots lists them.',
    });
  }
  return { kind: 'txid', txid: number };
}

const BAR_CHARS = 30;
const BAR_MS = 100;

/** On a terminal only. */
function progressBar(stream: NodeJS.WriteStream) {
  let shownMs = 0;
  let isShown = false;
  return {
    show({ pages, pagesTotal }: Progress): void {
      const nowMs = performance.now();
      if (!stream.isTTY || (nowMs - shownMs < BAR_MS && pages < pagesTotal)) return;
      shownMs = nowMs;
      isShown = true;
      const share = pagesTotal === 0 ? 1 : pages / pagesTotal;
      const done = '#'.repeat(Math.round(share * BAR_CHARS)).padEnd(BAR_CHARS, '.');
      stream.write(`\r[${done}] ${Math.floor(share * 100)} %`);
    },
    end(): void {
      if (isShown) stream.write('\r\x1b[K');
      isShown = false;
    },
  };
}
