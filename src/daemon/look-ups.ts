/**
 * Names that the engine wants to have looked up in the mount, in libuv's pool. Each may wait for a directory that an
 * application has locked until its transaction is answered; and answering it takes the pool as well, to read what is to be
 * sent. So the pool is never full of them.
 */
const AT_ONCE_MAX = 2;

export class LookUps {
  readonly #lookUp: (name: string) => Promise<unknown>;
  /** In the order in which they were asked for. */
  readonly #waiting = new Set<string>();
  #running = 0;

  /** `lookUp`: what becomes of it is all one. */
  constructor(lookUp: (name: string) => Promise<unknown>) {
    this.#lookUp = lookUp;
  }

  /** Asked again while it waits, it is done once. */
  add(name: string): void {
    this.#waiting.add(name);
    if (this.#running < AT_ONCE_MAX) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running++;
    for (const name of this.#waiting) {
      this.#waiting.delete(name);
      await this.#lookUp(name).catch(() => {});
    }
    this.#running--;
  }
}
