/** `litefs-lite diff`: which tables differ between two moments, to find when something went wrong. */

import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { formatTxid } from '../ltx/position.ts';
import { plainValue } from '../plain-text.ts';
import { differingTables, type TableDifference } from '../snapshots/difference.ts';
import type { Target } from '../snapshots/plan.ts';
import { restore } from '../snapshots/restore.ts';
import { sweepTemporaries } from '../snapshots/temporaries.ts';
import { formatTime, parseTime } from '../snapshots/when.ts';
import { type ArchiveFlags, archivesDir, existingArchive } from './archives.ts';
import { removeAtEnd } from './janitor.ts';
import { printJson, printText } from './print.ts';
import { targetOf } from './restore.ts';
import { formatTable } from './table.ts';

interface DiffFlags extends ArchiveFlags {
  readonly from: string;
  readonly to?: string;
  readonly scratch?: string;
  readonly json?: boolean;
}

/** Restores both states to scratch files and compares them. 0: the same; 1: different, as diff(1) has it. */
export function diff(database: string, flags: DiffFlags): number {
  const archive = existingArchive(archivesDir(flags), database);
  const scratch = flags.scratch ?? os.tmpdir();
  sweepTemporaries(scratch, /^litefs-lite-diff-/);
  const folder = fs.mkdtempSync(path.join(scratch, 'litefs-lite-diff-'));
  removeAtEnd(folder);
  const nowMs = Date.now();
  try {
    const state = (target: Target) => {
      const file = path.join(folder, randomUUID());
      const { txid, timestampMs } = restore(archive, target, file, {
        check: 'quick',
        force: false,
      });
      return { file, txid: formatTxid(txid), at: new Date(timestampMs).toISOString() };
    };
    const from = state(momentOf(flags.from, nowMs));
    const to = state(flags.to === undefined ? { kind: 'latest' } : momentOf(flags.to, nowMs));
    const tables = from.txid === to.txid ? [] : differingTables(from.file, to.file);
    const sides = { from: { txid: from.txid, at: from.at }, to: { txid: to.txid, at: to.at } };
    if (flags.json) printJson({ ...sides, tables });
    else printText(formatDifference(sides, plainValue(tables)));
    return tables.length === 0 ? 0 : 1;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** A time, or a transaction of 16 hex digits. Throws USAGE. */
function momentOf(text: string, nowMs: number): Target {
  if (/^[0-9a-f]{16}$/i.test(text)) return targetOf({ txid: text }, nowMs);
  return { kind: 'time', timeMs: parseTime(text, nowMs) };
}

interface Side {
  readonly txid: string;
  readonly at: string;
}

function formatDifference(
  { from, to }: { from: Side; to: Side },
  tables: readonly TableDifference[],
): string {
  const when = ({ at }: Side) => formatTime(Date.parse(at));
  const head = `from ${from.txid} (${when(from)})\nto   ${to.txid} (${when(to)})\n\n`;
  if (tables.length === 0) return `${head}no table differs\n`;
  const rows = tables.map((difference) => {
    const { table, rowsBefore, rowsAfter, added, removed } = difference;
    const counts = [`${rowsBefore ?? '-'}`, `${rowsAfter ?? '-'}`, `+${added}`, `-${removed}`];
    const isKnown = difference.unknown === undefined;
    return [table, ...(isKnown ? counts : counts.map(() => '?')), what(difference)];
  });
  const header = ['TABLE', 'ROWS BEFORE', 'AFTER', 'ADDED', 'REMOVED', ''];
  return `${head}${formatTable(header, rows)}\n`;
}

function what({ rowsBefore, rowsAfter, schemaChanged, unknown }: TableDifference): string {
  if (unknown !== undefined) return `cannot be compared: ${unknown}`;
  if (rowsBefore === undefined) return 'is new';
  if (rowsAfter === undefined) return 'was dropped';
  return schemaChanged ? 'its schema changed' : '';
}
