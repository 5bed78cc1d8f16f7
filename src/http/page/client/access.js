/**
 * What this page shows to a node whose status is not for everybody: a token that somebody has typed in. It is kept for
 * this tab alone, goes with it, and stands in no address and no cookie.
 *
 * @typedef {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} Store
 */

const KEY = 'litefs-lite status token';

/** The node wants a token, or another one. */
export class Refused extends Error {}

export class Access {
  /** @type {Store | undefined} */
  #store;
  /** @type {string | undefined} */
  #token;
  /** While no token is known that is taken. @type {PromiseWithResolvers<void> | undefined} */
  #closed;

  /** @param {Store} [store] undefined: where the browser keeps nothing, each page asks anew */
  constructor(store) {
    this.#store = store;
    this.#token = store?.getItem(KEY) ?? undefined;
  }

  /** Whether a token is shown. */
  get hasToken() {
    return this.#token !== undefined;
  }

  /** Resolves when there is something to try. */
  async open() {
    await this.#closed?.promise;
  }

  /** @param {string} token */
  enter(token) {
    this.#token = token;
    this.#store?.setItem(KEY, token);
    this.#closed?.resolve();
    this.#closed = undefined;
  }

  /**
   * @param {string} path of this node
   * @param {AbortSignal} signal
   * @returns {Promise<Response>}
   * @throws {Refused} of which the page is to tell
   */
  async ask(path, signal) {
    const token = this.#token;
    const headers = new Headers(token === undefined ? [] : [['authorization', bearer(token)]]);
    const response = await fetch(path, { cache: 'no-store', signal, headers });
    if (response.status !== 401) return response;
    await response.body?.cancel();
    // Another one may have been entered since.
    if (token === this.#token) {
      this.#closed ??= Promise.withResolvers();
      this.#store?.removeItem(KEY);
    }
    throw new Refused(`${path}: this needs the token for the status`);
  }
}

/**
 * Headers are bytes.
 *
 * @param {string} token
 */
function bearer(token) {
  return `Bearer ${String.fromCharCode(...new TextEncoder().encode(token))}`;
}

/** The store of this tab; undefined where the browser forbids one. */
export function tabStore() {
  try {
    return sessionStorage;
  } catch {
    return undefined;
  }
}
