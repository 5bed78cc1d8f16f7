/** SQLite's backup, to its end: over a database that applications use, or to a new file. */
import { setTimeout } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import { LiteFsError } from '../errors.ts';

export interface BackupOptions {
  /** Pages between two looks at the event loop. */
  readonly pagesPerStep: number;
  /** How long the lock of applications is waited for, ms. */
  readonly lockMsMax: number;
  /** Called once the lock is had, before anything is copied: nobody writes until that resolves. */
  locked?(): Promise<void>;
}

/** All pages in one step: others wait for the lock no longer than that takes. */
export const ALL_PAGES = 2 ** 31 - 1;
const LOCK_REST_MS = 3;
const PENDING_REST_MS = 1;

/**
 * Copies all of `from` to `to`, as one transaction there. Rejects with DATABASE_BUSY when the lock is not to be had, with
 * what SQLite throws, and with what `locked` rejects with; nothing is changed then.
 */
export async function backUp(
  from: Database.Database,
  to: string,
  { pagesPerStep, lockMsMax, locked }: BackupOptions,
): Promise<void> {
  const untilMs = performance.now() + lockMsMax;
  const progress = locked ? afterwards(locked, pagesPerStep) : () => pagesPerStep;
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

/** Steps of no pages, which keep the lock, until `before` has resolved. The very first step copies none either. */
function afterwards(before: () => Promise<void>, pagesPerStep: number): () => number {
  let state: 'new' | 'pending' | 'done' | { readonly error: unknown } = 'new';
  const nothing = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  return () => {
    if (state === 'new') {
      state = 'pending';
      before().then(
        () => {
          state = 'done';
        },
        (error) => {
          state = { error };
        },
      );
    }
    if (typeof state === 'object') throw state.error;
    if (state === 'done') return pagesPerStep;
    // The steps come one right after the other.
    Atomics.wait(nothing, 0, 0, PENDING_REST_MS);
    return 0;
  };
}
