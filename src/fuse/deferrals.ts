/** Operations that are held back until somebody says how they go on. */
import type { DeferredOperation } from './policy.ts';
import type { Asker } from './request.ts';

/**
 * How a request ends: with a negative errno, with that many bytes of the device's `body`, or (void)
 * without a reply, for now or for good.
 */
export type Outcome = number | undefined;

/** A deferred operation as the policy is told of it, but for the token. */
export type Operation = Omit<DeferredOperation, 'token'>;

/** A request that has not been replied to. */
export interface Held {
  readonly asker: Asker;
  /** Does what was asked for. */
  readonly goOn: () => Outcome;
}

export class Deferrals {
  readonly #held = new Map<bigint, Held>();
  #next = 1n;

  /** @returns the token by which `take` finds it */
  hold(held: Held): bigint {
    const token = this.#next++;
    this.#held.set(token, held);
    return token;
  }

  /** The request of that token, once. */
  take(token: bigint): Held | undefined {
    const held = this.#held.get(token);
    this.#held.delete(token);
    return held;
  }
}
