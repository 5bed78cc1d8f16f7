/** A disk that refuses what a replica is sent: what must be done in the end is asked of it again until it agrees. */
import { errorText, isDiskFault, isOutsideFault } from '../../errors.ts';
import { rest } from '../tasks/rest.ts';
import type { Task } from '../tasks/scheduler.ts';
import type { EngineContext } from './context.ts';
import type { Database, DatabaseStatus } from './database.ts';

const REST_MS = 500;

/**
 * Does what the log has already and readers are to see, however long the disk is full; `attempt` begins anew each time.
 * Meanwhile nothing else is done with the database, and its status says why. Throws WRONG_STATE when the node stops, and what
 * is a bug.
 */
export function* insist(ctx: EngineContext, db: Database, attempt: () => Task<void>): Task<void> {
  let before: DatabaseStatus | undefined;
  for (;;) {
    try {
      yield* attempt();
      if (before) ctx.setStatus(db, before);
      return;
    } catch (error) {
      if (!isOutsideFault(error) || ctx.isDetached()) throw error;
      const reason = `it cannot be written, and is tried again: ${errorText(error)}`;
      if (!before) ctx.log('error', `${db.name}: ${reason}`, { database: db.name });
      before ??= db.status;
      ctx.setStatus(db, { state: 'degraded', reason });
      yield* rest(ctx, REST_MS);
    }
  }
}

/** Says so in the status, when it is the disk that a transaction or a resync has failed with: it is sent again. */
export function sayDiskFault(ctx: EngineContext, db: Database, error: unknown): void {
  if (!isDiskFault(error)) return;
  const reason = `it cannot follow, and what it lacks is asked for again: ${errorText(error)}`;
  ctx.setStatus(db, { state: 'degraded', reason });
}
