/** What is counted of a database since the start of the node, for metrics: plain numbers, read when somebody asks. */

/** Upper bounds of the histograms, in seconds. */
export const LATENCY_BOUNDS_S = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
] as const;

/** A histogram of times. */
export class Latencies {
  /** How many were within each bound and above the one before; the last: above all. */
  readonly counts: number[] = new Array(LATENCY_BOUNDS_S.length + 1).fill(0);
  sumS = 0;

  add(ms: number): void {
    const seconds = ms / 1000;
    const at = LATENCY_BOUNDS_S.findIndex((bound) => seconds <= bound);
    this.counts[at < 0 ? LATENCY_BOUNDS_S.length : at]++;
    this.sumS += seconds;
  }
}

export class Tally {
  /** Transactions captured, on a replica applied, and the pages in them. */
  commits = 0;
  pages = 0;
  /** What was not what its checksum says: a received transaction, or pages of ours. */
  checksumFailures = 0;
  /** How often every page was compared, since the log of commits could not be followed. */
  comparisons = 0;
  /** Pages that the background found wrong though nothing had written them (background-verify.ts). */
  faults = 0;
  resyncs = 0;
  /** From the look at the database until what was found is in the log. */
  readonly capture = new Latencies();
  /** From the receipt by the engine until it is visible; those that came together once. */
  readonly apply = new Latencies();

  committed(transactions: number, pages: number): void {
    this.commits += transactions;
    this.pages += pages;
  }
}
