/** `litefs-lite verify --snapshots`: reads every file of the archives again, as a restore would. */
import os from 'node:os';
import { LiteFsError } from '../errors.ts';
import { snapshotTasks } from '../snapshots/tasks.ts';
import { type ArchiveFlags, archivesDir, databasesIn, existingArchive } from './archives.ts';
import { formatBytes } from './table.ts';

interface ArchiveVerdict {
  readonly name: string;
  readonly files: number;
  readonly bytes: number;
  /** What is wrong with the damaged ones; each begins with the file's path. */
  readonly damaged: readonly string[];
}

/** 0: all files are whole; 65: some are not. */
export function verifySnapshots(
  database: string | undefined,
  flags: ArchiveFlags & { readonly json?: boolean },
): number {
  const dir = archivesDir(flags);
  const names = database === undefined ? databasesIn(dir) : [database];
  const verdicts = names.map((name) => {
    const verdict = verifyArchive(dir, name);
    if (!flags.json) process.stdout.write(formatVerdict(verdict));
    return verdict;
  });
  if (flags.json) process.stdout.write(`${JSON.stringify(verdicts, null, 2)}\n`);
  return verdicts.every(({ damaged }) => damaged.length === 0) ? 0 : 65;
}

function verifyArchive(dir: string, name: string): ArchiveVerdict {
  const tasks = snapshotTasks();
  const archive = existingArchive(dir, name);
  const files = archive.list();
  const damaged = files.flatMap((file) => {
    try {
      tasks.check({ archive: archive.root, file, check: 'quick', scratchDir: os.tmpdir() });
      return [];
    } catch (error) {
      if (!(error instanceof LiteFsError)) throw error;
      const where = archive.pathOf(file);
      return [error.message.startsWith(where) ? error.message : `${where} ${error.message}`];
    }
  });
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { name, files: files.length, bytes, damaged };
}

function formatVerdict({ name, files, bytes, damaged }: ArchiveVerdict): string {
  const read = `${files} files, ${formatBytes(bytes)}`;
  if (damaged.length === 0) return `${name}: ok, ${read}\n`;
  return `${name}: ${damaged.length} of ${read} are DAMAGED\n${damaged.map((text) => `  ${text}\n`).join('')}`;
}
