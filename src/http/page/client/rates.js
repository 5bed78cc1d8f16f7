/**
 * Commits per second of the last seconds, from how far the transaction numbers have gone. Pure.
 *
 * @typedef {import('../../info.ts').NodeReport} NodeReport
 * @typedef {import('../../history.ts').HistoryReport} HistoryReport
 */
import { txidOf } from './facts.js';

const WINDOW_MS = 10_000;

export class Rates {
  /** @type {{ atMs: number, txids: Map<string, number> }[]} */
  #samples = [];

  /**
   * @param {number} atMs
   * @param {NodeReport} info
   */
  add(atMs, info) {
    const txids = new Map(info.databases.map(({ name, position }) => [name, txidOf(position)]));
    this.#samples.push({ atMs, txids });
    // One from before the window stays, so that the window is covered.
    while (this.#samples.length > 2 && atMs - this.#samples[1].atMs >= WINDOW_MS)
      this.#samples.shift();
  }

  /**
   * By database. One that is new counts from nothing.
   *
   * @returns {Map<string, number>}
   */
  each() {
    const first = this.#samples[0];
    const last = this.#samples[this.#samples.length - 1];
    if (!first || first === last) return new Map();
    const seconds = (last.atMs - first.atMs) / 1000;
    return new Map(
      [...last.txids].map(([name, txid]) => [
        name,
        Math.max(0, txid - (first.txids.get(name) ?? 0)) / seconds,
      ]),
    );
  }
}

/**
 * Of all databases, over the same time.
 *
 * @param {HistoryReport} history
 */
export function lastRate({ commits, everyMs }) {
  const last = commits.slice(-Math.ceil(WINDOW_MS / everyMs));
  const sum = last.reduce((total, count) => total + count, 0);
  return last.length === 0 ? 0 : (sum * 1000) / (last.length * everyMs);
}
