/** Other nodes with which something was seen to be wrong, as two primaries. Told as long as they are seen again. */

/** One that asks to follow us asks again within half a minute, and a primary looks for another each minute. */
const FORGET_MS = 150_000;

export class Sightings {
  readonly #monotonicMs: () => number;
  readonly #seen = new Map<string, { readonly text: string; readonly atMs: number }>();

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** Whether it is new. `key`: who it was, and what. */
  saw(key: string, text: string): boolean {
    const isNew = !this.texts().includes(text);
    this.#seen.set(key, { text, atMs: this.#monotonicMs() });
    return isNew;
  }

  /** It was looked for, and is well. */
  gone(key: string): void {
    this.#seen.delete(key);
  }

  /** What is wrong, each once. */
  texts(): string[] {
    const sinceMs = this.#monotonicMs() - FORGET_MS;
    for (const [key, { atMs }] of this.#seen) if (atMs < sinceMs) this.#seen.delete(key);
    return [...new Set([...this.#seen.values()].map(({ text }) => text))];
  }
}
