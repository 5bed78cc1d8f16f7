/**
 * How fast this thread may read archives and logs. The snapshot thread is held to `snapshots.rate`; a command that a person
 * has started is not. The thread does nothing else meanwhile, so it may block.
 */
export class Pace {
  readonly #nowMs: () => number;
  readonly #sleep: (ms: number) => void;
  #bytesPerMs = 0;
  /** When all that was read until now may have been read. */
  #dueMs = 0;

  /** `nowMs`: a monotonic clock; `sleep`: blocks for so many ms. */
  constructor(nowMs: () => number, sleep: (ms: number) => void) {
    this.#nowMs = nowMs;
    this.#sleep = sleep;
  }

  /** 0 is no limit. */
  limit(bytesPerSecond: number): void {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** So many bytes were read: waits until that was allowed. What was not read earlier cannot be made up for. */
  readonly spend = (bytes: number): void => {
    if (this.#bytesPerMs === 0) return;
    const nowMs = this.#nowMs();
    this.#dueMs = Math.max(this.#dueMs, nowMs) + bytes / this.#bytesPerMs;
    if (this.#dueMs > nowMs) this.#sleep(this.#dueMs - nowMs);
  };
}

const never = new Int32Array(new SharedArrayBuffer(4));

/** Of this thread. */
export const pace = new Pace(
  () => performance.now(),
  (ms) => void Atomics.wait(never, 0, 0, ms),
);
