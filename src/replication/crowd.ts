/**
 * Connections to the server, by whom they come from: one address takes neither the places of all others, nor those of strangers,
 * who have not proved yet who they are.
 */

/** In all. */
export const CONNECTIONS_MAX = 256;
/** Of one address; of IPv6, of one network of 64 bits. */
export const CONNECTIONS_PER_ADDRESS_MAX = 64;
/** Of those that have not proved who they are. */
export const STRANGERS_MAX = 64;

export class Crowd<T> {
  readonly #from = new Map<T, string>();
  /** The oldest first. */
  readonly #strangers = new Set<T>();

  /** Takes a stranger in. */
  enter(one: T, address: string): void {
    this.#from.set(one, address);
    this.#strangers.add(one);
  }

  /** It is no stranger any more. */
  known(one: T): void {
    this.#strangers.delete(one);
  }

  leave(one: T): void {
    this.#from.delete(one);
    this.#strangers.delete(one);
  }

  /**
   * Who must make room for the stranger that came last, which may be itself; undefined as long as there is room. It is always a
   * stranger: the oldest of that address when it has all that one may have, else of the address that has most.
   */
  crowdedOut(last: T): T | undefined {
    const from = this.#from.get(last);
    let here = 0;
    for (const each of this.#from.values()) if (each === from) here++;
    if (here > CONNECTIONS_PER_ADDRESS_MAX) return this.#oldestStranger(from);
    if (this.#from.size <= CONNECTIONS_MAX && this.#strangers.size <= STRANGERS_MAX)
      return undefined;
    const counts = new Map<string | undefined, number>();
    for (const one of this.#strangers) {
      const address = this.#from.get(one);
      counts.set(address, (counts.get(address) ?? 0) + 1);
    }
    const [[most]] = [...counts].sort(([, a], [, b]) => b - a);
    return this.#oldestStranger(most);
  }

  #oldestStranger(address: string | undefined): T | undefined {
    for (const one of this.#strangers) if (this.#from.get(one) === address) return one;
    return undefined;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#from.keys();
  }
}
