/** What GET /history tells: the last minutes of a node, kept in memory, so that a chart has a past when it is opened. */

/** Lists are of the same length, oldest first; the last value is the one at `until`. */
export interface HistoryReport {
  readonly everyMs: number;
  readonly until: string;
  /** Transactions of all databases in each interval; on a replica those it applied. */
  readonly commits: readonly number[];
  /** How far behind each node was, ms, by node ID; null when that was not known. */
  readonly behindMs: Record<string, readonly (number | null)[]>;
}

export const SAMPLE_MS = 2000;
/** Ten minutes. */
const SAMPLES_MAX = 300;

interface Sample {
  readonly commits: number;
  readonly lags: ReadonlyMap<string, number | null>;
}

export class History {
  readonly #samples: Sample[] = [];
  #commits = 0;
  #untilMs: number;

  constructor(nowMs: number) {
    this.#untilMs = nowMs;
  }

  committed(transactions: number): void {
    this.#commits += transactions;
  }

  /** Ends an interval; to be called every SAMPLE_MS. */
  sample(nowMs: number, lags: ReadonlyMap<string, number | null>): void {
    this.#samples.push({ commits: this.#commits, lags });
    this.#commits = 0;
    this.#untilMs = nowMs;
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  report(): HistoryReport {
    const nodes = new Set(this.#samples.flatMap(({ lags }) => [...lags.keys()]));
    const series = (node: string) => this.#samples.map(({ lags }) => lags.get(node) ?? null);
    return {
      everyMs: SAMPLE_MS,
      until: new Date(this.#untilMs).toISOString(),
      commits: this.#samples.map(({ commits }) => commits),
      behindMs: Object.fromEntries([...nodes].map((node) => [node, series(node)])),
    };
  }
}
