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
  readonly engine: Pick<EngineClient, 'call' | 'callIfAlive'>;
  readonly halts: Pick<Halts, 'lend' | 'takeBack'>;
  readonly snapshots: Pick<Snapshots, 'increment' | 'dir'>;
  readonly archiveMsMax?: number;
}

/** How long the lock of applications is waited for. */
const LOCK_MS_MAX = 60_000;
/** How long applications wait for the archive to have their last commits; it may be at work on a snapshot. */
const ARCHIVE_MS_MAX = 3000;
/** How often that is tried, with the lock given back and the archive waited for in between. */
const TRIES = 5;
const HOLDER = 'restore --in-place';

let nextId = 1;

/**
 * `image`: a database file. Before it is written all that was committed is in the archive, so that it can be undone. Rejects
 * with DATABASE_NOT_FOUND, DATABASE_CORRUPT, DATABASE_BUSY, WRONG_STATE, DISK; nothing has changed then.
 */
export async function restoreInto(
  parts: RestoreParts,
  database: string,
  image: string,
  signal: AbortSignal,
): Promise<RestoreReport> {
  const { engine, snapshots } = parts;
  const { rewrite } = await engine.call('rewriteBegin', { database, image });
  try {
    for (let tries = 1; ; tries++) {
      const report = await underLock(parts, database, rewrite, signal);
      if (report) return report;
      if (tries === TRIES) {
        throw notKept(`the archive has not taken them within ${ARCHIVE_MS_MAX / 1000} s`);
      }
      await snapshots.increment(database);
    }
  } finally {
    await engine.callIfAlive('rewriteClose', { rewrite });
  }
}

/** undefined when the archive is too slow to be waited for. */
async function underLock(
  { engine, halts, snapshots, archiveMsMax = ARCHIVE_MS_MAX }: RestoreParts,
  database: string,
  rewrite: number,
  signal: AbortSignal,
): Promise<RestoreReport | undefined> {
  const id = nextId++;
  const before = await lock(halts, database, id, signal);
  try {
    const undoTxid = await archived(snapshots, database, before, archiveMsMax);
    if (undoTxid === undefined) return undefined;
    signal.throwIfAborted();
    const position = await engine.call('rewriteFinish', { rewrite });
    const { dir } = snapshots;
    return { name: nameText(database), position: formatPosition(position), undoTxid, dir };
  } finally {
    await halts.takeBack(database, id);
  }
}

/** Resolves with where the database is then. A writer that does not end is waited for. */
async function lock(
  halts: RestoreParts['halts'],
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

/** Has all in the archive that is committed; the TXID with which that ends, or undefined when it takes too long. */
async function archived(
  snapshots: RestoreParts['snapshots'],
  database: string,
  position: Position,
  msMax: number,
): Promise<string | undefined> {
  const over = new AbortController();
  const late = setTimeout(msMax, undefined, { signal: over.signal }).catch(() => undefined);
  const kept = snapshots.increment(database);
  // It may fail when nobody waits for it any more.
  kept.catch(() => {});
  let report: Awaited<typeof kept> | undefined;
  try {
    report = await Promise.race([kept, late]);
  } catch (error) {
    throw error instanceof LiteFsError ? notKept(errorText(error), error) : error;
  } finally {
    over.abort();
  }
  if (report === undefined || report.txid === formatTxid(position.txid)) return report?.txid;
  throw notKept(`the archive ends at ${report.txid}, not at ${formatPosition(position)}`);
}

function notKept(why: string, cause?: unknown): LiteFsError {
  return new LiteFsError('DISK', `the last commits could not be kept: ${why}`, {
    hint: 'Nothing was changed.',
    cause,
  });
}
