/**
 * The files of a replica's databases from start to stop. Each has a -wal and a -shm, whole, from before the mount on, whatever
 * journal mode page 1 asks for: readers may not make them, and who once reads without a -wal would notice no new one. After the
 * unmount the file alone is the database.
 */
import { errorText, isOutsideFault } from '../../errors.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import type { Task } from '../tasks/scheduler.ts';
import { checkpoint } from './checkpoints.ts';

const LOCK_REST_MS = 1;
/** For all databases together. */
const PATIENCE_MS = 500;

/** Before the mount, when the database file alone is what it should be. */
export function prepareFiles(ctx: EngineContext, db: Database): void {
  if (db.pageCount === 0) return;
  db.owner.make(db.pageSize, db.pageCount, ctx.random32);
}

/**
 * The mount is there: all that is left are our locks, and the index, if a reader was quicker and has recovered it. A start waits
 * for the locks of others for a moment only; the next transaction takes ours. `failed` is told which database cannot be had.
 */
export function* takeOverFiles(
  databases: Iterable<Database>,
  failed: (db: Database, error: unknown) => void,
): Task<void> {
  let patienceMs = PATIENCE_MS;
  for (const db of databases) {
    yield;
    if (db.pageCount === 0) continue;
    try {
      db.files.refuseOthers();
      if (!db.wal.cursor) continue;
      let isTaken = db.owner.take(db.pageCount);
      for (; !isTaken && patienceMs > 0; patienceMs -= LOCK_REST_MS) {
        yield LOCK_REST_MS;
        isTaken = db.owner.take(db.pageCount);
      }
      if (isTaken) db.owner.release();
    } catch (error) {
      failed(db, error);
    }
  }
}

/** Before the mount is let go of: readers may still be there. */
export function* copyFrames(ctx: EngineContext, db: Database): Task<void> {
  if (db.wal.cursor && !db.shown && db.owner.framesToCopy > 0) yield* checkpoint(ctx, db);
}

/**
 * After the unmount. `isUnused`: nobody can have a file of the mount open. Otherwise a reader may be in the middle of a
 * snapshot, and what it kept from being copied stays in the -wal, for the next start.
 */
export function settleFiles(ctx: EngineContext, db: Database, isUnused: boolean): void {
  if (!db.wal.cursor || db.shown) return;
  try {
    if (db.owner.framesToCopy > 0) {
      if (!isUnused) return;
      const task = checkpoint(ctx, db);
      let step = task.next();
      while (!step.done) step = task.next();
      if (!step.value) return;
    }
    db.files.unlink('wal');
    db.files.unlink('shm');
    db.forgetWal();
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    ctx.log('warn', `${db.name}: its -wal stays: ${errorText(error)}`, { database: db.name });
  }
}
