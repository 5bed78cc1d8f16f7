/**
 * Names that the engine wants to have looked up in the mount, in libuv's pool. Each may wait for a directory that an
 * application has locked until its transaction is answered; and answering it takes the pool as well, to read what is to be
 * sent. So the pool is never full of them.
 */
const AT_ONCE_MAX = 2;

export class LookUps {
  readonly #lookUp: (path: Buffer) => Promise<unknown>;
  /** In the order in which they were asked for, as one char a byte. */
  readonly #waiting = new Set<string>();
  #running = 0;

  /** `lookUp`: what becomes of it is all one. */
  constructor(lookUp: (path: Buffer) => Promise<unknown>) {
    this.#lookUp = lookUp;
  }

  /** Asked again while it waits, it is done once. */
  add(path: Uint8Array): void {
    this.#waiting.add(Buffer.from(path).toString('latin1'));
    if (this.#running < AT_ONCE_MAX) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running++;
    for (const path of this.#waiting) {
      this.#waiting.delete(path);
      await this.#lookUp(Buffer.from(path, 'latin1')).catch(() => {});
    }
    this.#running--;
  }
}
