/** Resting for what others must do first, until the mount goes away. */
import { LiteFsError } from '../errors.ts';
import type { EngineContext } from './context.ts';
import type { Task } from './scheduler.ts';

/**
 * Rests. A task that went on after the engine has let go of the mount would open files in it again, and keep it from being
 * unmounted. Throws WRONG_STATE then.
 */
export function* rest(ctx: EngineContext, ms: number): Task<void> {
  yield ms;
  if (ctx.isDetached()) throw new LiteFsError('WRONG_STATE', 'the node is stopping');
}
