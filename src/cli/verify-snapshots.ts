/** `litefs-lite verify --snapshots`: reads every file of the archives again, as a restore would. */

import { LiteFsError } from '../errors.ts';
import { plainValue } from '../plain-text.ts';
import type { Archive } from '../snapshots/archive.ts';
import { type ArchiveVerdict, verifyArchive } from '../snapshots/verify-archive.ts';
import { type ArchiveFlags, archivesDir, databasesIn, existingArchive } from './archives.ts';
import { printJson, printText } from './print.ts';
import { counted, formatBytes } from './table.ts';

interface Verdict extends ArchiveVerdict {
  readonly name: string;
}

/** 0: all files are whole, and none is missing; 65: some are not. */
export function verifySnapshots(
  database: string | undefined,
  flags: ArchiveFlags & { readonly json?: boolean },
): number {
  const dir = archivesDir(flags);
  const names = database === undefined ? databasesIn(dir) : [database];
  const verdicts = names.map((name) => {
    const verdict = { name, ...verdictOf(existingArchive(dir, name)) };
    if (!flags.json) printText(formatVerdict(plainValue(verdict)));
    return verdict;
  });
  if (flags.json) printJson(verdicts);
  return verdicts.every(isGood) ? 0 : 65;
}

/** One that cannot be read must not hide what is wrong with others. */
function verdictOf(archive: Archive): ArchiveVerdict {
  try {
    return verifyArchive(archive, Date.now());
  } catch (error) {
    if (!(error instanceof LiteFsError) || error.code !== 'DISK') throw error;
    return { files: 0, bytes: 0, damaged: [error.message], missing: [] };
  }
}

function isGood({ damaged, missing }: Verdict): boolean {
  return damaged.length + missing.length === 0;
}

function formatVerdict(verdict: Verdict): string {
  const { name, files, bytes, damaged, missing } = verdict;
  const read = `${counted(files, 'file')}, ${formatBytes(bytes)}`;
  if (isGood(verdict)) return `${name}: ok, ${read}\n`;
  const found = [
    damaged.length > 0 ? `${damaged.length} DAMAGED` : '',
    missing.length > 0 ? `some MISSING before ${missing.length}` : '',
  ];
  const what = found.filter((text) => text !== '').join(', ');
  const lines = [...damaged, ...missing].map((text) => `  ${text}\n`).join('');
  return `${name}: of ${read}: ${what}\n${lines}`;
}
