/**
 * A restore in place: makes a database of this primary what a file is, under its write lock. Others wait for that lock only
 * while the archive takes the last commits and the pages that differ are written.
 */
import { setTimeout } from 'node:timers/promises';
import type { EngineClient } from '../engine/client.ts';
import { errorText, LiteFsError } from '../errors.ts';
import type { RestoreReport } from '../http/info.ts';
import { nameText } from '../http/names.ts';
import { formatPosition, formatTxid, type Position } from '../ltx/position.ts';
import type { Halts } from './halts.ts';
import type { Snapshots } from './snapshots.ts';

export interface RestoreParts {
  readonly engine: EngineClient;
  readonly halts: Halts;
  readonly snapshots: Snapshots;
}

/** How long the lock of applications is waited for. */
const LOCK_MS_MAX = 60_000;
/** How long applications wait for the archive to have their last commits. */
const ARCHIVE_MS_MAX = 20_000;
const HOLDER = 'restore --in-place';

let nextId = 1;

/**
 * `image`: a database file. Before it is written all that was committed is in the archive, so that it can be undone. Rejects
 * with DATABASE_NOT_FOUND, DATABASE_CORRUPT, DATABASE_BUSY, WRONG_STATE, DISK; nothing has changed then.
 */
export async function restoreInto(
  { engine, halts, snapshots }: RestoreParts,
  database: string,
  image: string,
  signal: AbortSignal,
): Promise<RestoreReport> {
  const { rewrite } = await engine.call('rewriteBegin', { database, image });
  try {
    const id = nextId++;
    const before = await lock(halts, database, id, signal);
    try {
      const undoTxid = await archived(snapshots, database, before);
      signal.throwIfAborted();
      const position = await engine.call('rewriteFinish', { rewrite });
      const { dir } = snapshots;
      return { name: nameText(database), position: formatPosition(position), undoTxid, dir };
    } finally {
      halts.takeBack(database, id);
    }
  } finally {
    await engine.callIfAlive('rewriteClose', { rewrite });
  }
}

/** Resolves with where the database is then. A writer that does not end is waited for. */
async function lock(
  halts: Halts,
  database: string,
  id: number,
  signal: AbortSignal,
): Promise<Position> {
  const untilMs = performance.now() + LOCK_MS_MAX;
  for (;;) {
    signal.throwIfAborted();
    const leftMs = untilMs - performance.now();
    try {
      return await halts.lend(database, id, HOLDER, leftMs);
    } catch (error) {
      const isBusy = error instanceof LiteFsError && error.code === 'DATABASE_BUSY';
      if (!isBusy) throw error;
      if (performance.now() < untilMs) continue;
      throw new LiteFsError('DATABASE_BUSY', error.message, {
        hint: 'Is an application in a long transaction? Nothing was changed.',
        cause: error,
      });
    }
  }
}

/** Has all in the archive that is committed; the TXID with which that ends. */
async function archived(
  snapshots: Snapshots,
  database: string,
  position: Position,
): Promise<string> {
  const over = new AbortController();
  const tooLate = setTimeout(ARCHIVE_MS_MAX, undefined, { signal: over.signal }).then(() => {
    throw new Error(`the archive has not taken them within ${ARCHIVE_MS_MAX / 1000} s`);
  });
  tooLate.catch(() => {});
  try {
    const { txid } = await Promise.race([snapshots.increment(database), tooLate]);
    if (txid === formatTxid(position.txid)) return txid;
    throw new Error(`the archive ends at ${txid}, the database is at ${formatPosition(position)}`);
  } catch (error) {
    throw new LiteFsError('DISK', `the last commits could not be kept: ${errorText(error)}`, {
      hint: 'Nothing was changed.',
      cause: error,
    });
  } finally {
    over.abort();
  }
}
