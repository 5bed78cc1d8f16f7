/**
 * What a clean stop leaves behind: page checksums and, for each database, the marker that they are true.
 *
 * A marker says that nothing is in the files that was not captured. So the look that it holds must be older than the
 * last capture: between that and the unmount an application may still commit, and nobody captures it.
 */
import { errorText, isOutsideFault } from '../../errors.ts';
import {
  type FileLook,
  sameLook,
  saveMarker,
  syncBeforeMarkers,
  type WalEnd,
} from '../../store/marker.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { saveState } from '../core/saved-state.ts';
import type { Task } from '../tasks/scheduler.ts';

/** How the files of a database look. */
export interface Look {
  readonly database: FileLook | null;
  readonly wal: FileLook | null;
}

/**
 * Times of files advance in steps of up to 10 ms. What was written less than this before a look may be written once more
 * and look the same.
 */
const STILL_MS = 20;

/** A look at the files as they are; undefined when they were written a moment ago, and a write might not show. */
function lookAtStill(ctx: EngineContext, db: Database): Look | undefined {
  const look = lookAtFiles(db);
  const nowMs = ctx.wallClockMs();
  const isStill = [look.database, look.wal].every(
    (file) => !file || Math.abs(nowMs - Number(BigInt(file.mtimeNs) / 1_000_000n)) >= STILL_MS,
  );
  return isStill ? look : undefined;
}

/** A look at each database; waits a moment for those that were just written. */
export function* lookAtAll(
  ctx: EngineContext,
  databases: Iterable<Database>,
): Task<Map<Database, Look>> {
  const looks = new Map<Database, Look>();
  const unsettled: Database[] = [];
  for (const db of databases) {
    const look = lookAtStill(ctx, db);
    if (look) looks.set(db, look);
    else unsettled.push(db);
  }
  if (unsettled.length > 0) yield STILL_MS;
  for (const db of unsettled) {
    const look = lookAtStill(ctx, db);
    if (look) looks.set(db, look);
  }
  return looks;
}

/**
 * After unmounting: nobody can write any more. `captured`: the look of each database before it was captured completely;
 * undefined on a replica, where nobody but us writes. A database that looks otherwise by now gets no marker, nor one
 * for which the disk fails.
 */
export function writeMarkers(
  ctx: EngineContext,
  databases: Iterable<Database>,
  captured: ReadonlyMap<Database, Look> | undefined,
): void {
  const saved = [...databases].filter((db) => tolerate(ctx, db.name, () => closeLog(db)));
  // Data first: a marker that is on the disk vouches for it.
  if (!tolerate(ctx, ctx.layout.root, () => syncBeforeMarkers(ctx.layout.root))) return;
  for (const db of saved) tolerate(ctx, db.name, () => writeMarker(ctx, db, captured));
}

/** Whether the disk let it be done. Throws again what is a bug. */
function tolerate(ctx: EngineContext, what: string, step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    ctx.log('warn', `${what}: what a clean stop keeps was not written: ${errorText(error)}`);
    return false;
  }
}

function closeLog(db: Database): void {
  db.log.sync();
  db.log.close();
  if (db.pageCount > 0) saveState(db);
}

function writeMarker(
  ctx: EngineContext,
  db: Database,
  captured: ReadonlyMap<Database, Look> | undefined,
): void {
  if (db.pageCount === 0) return;
  const { database, wal } = lookAtFiles(db);
  const before = captured?.get(db);
  const isCaptured =
    !captured || (before && sameLook(before.database, database) && sameLook(before.wal, wal));
  if (db.suspicion || db.shown || db.status.state !== 'ok' || !database || !isCaptured) {
    ctx.log('info', `${db.name} will be compared page by page at the next start`, {
      database: db.name,
    });
    return;
  }
  saveMarker(db.markerFile, { position: db.position, database, wal, walEnd: walEndOf(db) });
}

/** On a primary how far it was followed, on a replica what was appended. */
function walEndOf({ wal }: Database): WalEnd | undefined {
  const end = wal.followed.generation ? wal.followed : wal.cursor;
  return end && { frame: end.frame, checksum1: end.checksum1, checksum2: end.checksum2 };
}

/** A look at the files as they are. */
export function lookAtFiles(db: Database): Look {
  return {
    database: db.files.look('db'),
    wal: db.files.look('wal'),
  };
}
