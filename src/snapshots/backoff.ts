/**
 * When what failed is tried again. Soon, since most troubles pass; then ever later. An attempt that took long (all of a large
 * database was read) is not repeated at once: of ten minutes at most one is spent on what fails. Pure.
 */

const SHORT_MS_MAX = 5 * 60_000;
const LONG_MS_MAX = 60 * 60_000;
/** Times as long as the attempt took. */
const REST = 10;

export class Backoff {
  readonly #firstMs: number;
  readonly #failed = new Map<string, { times: number; dueMs: number }>();

  /** `firstMs`: how long after the first failure. */
  constructor(firstMs: number) {
    this.#firstMs = firstMs;
  }

  /** An attempt from `beganMs` to `nowMs` has failed. */
  failed(name: string, beganMs: number, nowMs: number): void {
    const times = (this.#failed.get(name)?.times ?? 0) + 1;
    const shortMs = Math.min(SHORT_MS_MAX, this.#firstMs * 2 ** (times - 1));
    const longMs = Math.min(LONG_MS_MAX, REST * (nowMs - beganMs));
    this.#failed.set(name, { times, dueMs: nowMs + Math.max(shortMs, longMs) });
  }

  wentWell(name: string): void {
    this.#failed.delete(name);
  }

  /** How long until it is due; 0 when it is. */
  waitMs(name: string, nowMs: number): number {
    return Math.max(0, (this.#failed.get(name)?.dueMs ?? nowMs) - nowMs);
  }
}
