/** Whether the client is still there. Costs next to nothing as long as nobody asks for a signal. */
export class Presence {
  #gone = false;
  #controller: AbortController | undefined;
  /** Called once, when it goes. */
  onLeave: (() => void) | undefined;

  get gone(): boolean {
    return this.#gone;
  }

  /** Aborted when it goes. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#gone) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#controller?.abort();
    this.onLeave?.();
  }

  /** Throws when it is gone. */
  assert(): void {
    if (this.#gone) throw new ClientGone();
  }
}

/** There is nobody left to answer. */
export class ClientGone extends Error {
  constructor() {
    super('the client has gone');
  }
}
