/** For how long nothing has come over a connection. Bytes count, not frames: on a slow link one frame takes its time. */
import type { Clock } from './parts.ts';

export class Silence {
  readonly #clock: Clock;
  #bytes = 0;
  #sinceMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.monotonicMs();
  }

  /** ms; `bytes`: all that have come until now. To be asked again and again. */
  lasted(bytes: number): number {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.restart();
    }
    return this.#clock.monotonicMs() - this.#sinceMs;
  }

  /** Until now nothing could come. */
  restart(): void {
    this.#sinceMs = this.#clock.monotonicMs();
  }
}
