/** What must be done in the end, since there is no way back: the disk is asked again until it agrees. */
import { errorText, isOutsideFault } from '../errors.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { rest } from './rest.ts';
import type { Task } from './scheduler.ts';

const REST_MS = 500;

/**
 * Does what the log has already and readers are to see, however long the disk is full; `attempt` begins anew each time.
 * Meanwhile nothing else is done with the database. Throws WRONG_STATE when the node stops, and what is a bug.
 */
export function* insist(ctx: EngineContext, db: Database, attempt: () => Task<void>): Task<void> {
  for (let isTold = false; ; isTold = true) {
    try {
      yield* attempt();
      return;
    } catch (error) {
      if (!isOutsideFault(error) || ctx.isDetached()) throw error;
      const text = `${db.name} cannot be written, and is tried again: ${errorText(error)}`;
      if (!isTold) ctx.log('error', text, { database: db.name });
      yield* rest(ctx, REST_MS);
    }
  }
}
