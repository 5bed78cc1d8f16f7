/** Resting for what others must do first, until the mount goes away. */
import { LiteFsError } from '../../errors.ts';
import { OpenWouldBlock } from '../files/files.ts';
import type { Task } from './scheduler.ts';

/** Whose tasks rest. */
export interface Leaving {
  /** Whether the mount is being left: nothing may be opened in it any more. */
  isDetached(): boolean;
}

/** For another thread to have a name looked up. */
export const LOOK_UP_MS = 1;

/**
 * Rests. A task that went on after the engine has let go of the mount would open files in it again, and keep it from being
 * unmounted. Throws WRONG_STATE then.
 */
export function* rest(ctx: Leaving, ms: number): Task<void> {
  yield ms;
  if (ctx.isDetached()) throw new LiteFsError('WRONG_STATE', 'the node is stopping');
}

/** Opens files, as soon as no name of them has to be looked up first. Throws what rest() throws. */
export function* whenLookedUp<T>(ctx: Leaving, open: () => T): Task<T> {
  for (;;) {
    try {
      return open();
    } catch (error) {
      if (!(error instanceof OpenWouldBlock)) throw error;
    }
    yield* rest(ctx, LOOK_UP_MS);
  }
}
