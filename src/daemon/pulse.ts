/**
 * Whether a part of the node still answers. It is asked when that is to be known, and not again before it has answered: one
 * that hangs has one question, however many ask.
 */
export interface Part {
  readonly name: string;
  /** Resolves when it has answered. Rejects when it answers that it cannot: that is an answer too. */
  ask(): Promise<unknown>;
}

interface Question {
  readonly sinceMs: number;
  readonly answered: Promise<void>;
  /** Told by a timer, which may be a little ahead of the clock. */
  isLate: boolean;
}

/** How long a part may take. */
export const ANSWER_MS_MAX = 5000;

export class Pulse {
  readonly #part: Part;
  readonly #msMax: number;
  readonly #now: () => number;
  #question: Question | undefined;

  /** `now`: ms, of a clock that never goes back. */
  constructor(part: Part, msMax = ANSWER_MS_MAX, now = () => performance.now()) {
    this.#part = part;
    this.#msMax = msMax;
    this.#now = now;
  }

  /** What is wrong, by what was asked before; undefined when nothing is known to be. */
  get trouble(): string | undefined {
    if (this.#question === undefined) return undefined;
    const { sinceMs, isLate } = this.#question;
    const ms = this.#now() - sinceMs;
    if (ms < this.#msMax && !isLate) return undefined;
    return `${this.#part.name} has not answered for ${Math.round(ms / 1000)} s`;
  }

  /** Asks, and resolves when there is an answer, or when it is late. Never rejects. */
  async feel(): Promise<void> {
    this.#question ??= this.#asked();
    const question = this.#question;
    const leftMs = question.sinceMs + this.#msMax - this.#now();
    if (leftMs <= 0) return;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      question.isLate = true;
      late.resolve();
    }, leftMs);
    await Promise.race([question.answered, late.promise]);
    clearTimeout(timer);
  }

  #asked(): Question {
    const done = () => {
      this.#question = undefined;
    };
    return { sinceMs: this.#now(), answered: this.#part.ask().then(done, done), isLate: false };
  }
}
