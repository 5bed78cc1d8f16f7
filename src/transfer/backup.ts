/** SQLite's backup, to its end: over a database that applications use, or to a new file. */
import { setTimeout } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import { LiteFsError } from '../errors.ts';

export interface BackupOptions {
  /** Pages between two looks at the event loop. */
  readonly pagesPerStep: number;
  /** How long the lock of applications is waited for, ms. */
  readonly lockMsMax: number;
}

/** All pages in one step: others wait for the lock no longer than that takes. */
export const ALL_PAGES = 2 ** 31 - 1;
const LOCK_REST_MS = 3;

/**
 * Copies all of `from` to `to`, as one transaction there. Rejects with DATABASE_BUSY when the lock is not to be had, and
 * with what SQLite throws; nothing is changed then.
 */
export async function backUp(
  from: Database.Database,
  to: string,
  { pagesPerStep, lockMsMax }: BackupOptions,
): Promise<void> {
  const untilMs = performance.now() + lockMsMax;
  const progress = () => pagesPerStep;
  // One whose first step finds the lock taken ends as if it had copied all pages that it knows of: none.
  while ((await from.backup(to, { progress })).totalPages === 0) {
    if (performance.now() > untilMs) {
      throw new LiteFsError('DATABASE_BUSY', `${to} has been locked by others for too long`, {
        hint: 'Is an application in a long transaction? Nothing was changed.',
      });
    }
    await setTimeout(LOCK_REST_MS);
  }
}
