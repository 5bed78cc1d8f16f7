/** A reader that looks for new rows all the time, and notes how old each is when it first sees it. */
import Sqlite from 'better-sqlite3';
import { jobOptions } from '../job.ts';
import { median, quantile } from '../statistics.ts';

export interface WatchOptions {
  readonly file: string;
}

export interface WatchResult {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly mostMs: number;
  /** Median age of the last tenth of the rows. */
  readonly endMs: number;
  /** From the writing of the first row to the sight of the last. */
  readonly seconds: number;
}

/** Between two looks; a reader that spins would take one of the machine's processors from what is measured. */
const PAUSE_MS = 0.1;
const PATIENCE_MS = 60_000;

const { file } = jobOptions<WatchOptions>();
const pause = new Int32Array(new SharedArrayBuffer(4));
const db = new Sqlite(file, { readonly: true, timeout: 10_000 });
const news = db.prepare('SELECT id, at, last FROM seen WHERE id > ? ORDER BY id').raw();
const nowNs = () => Number(process.hrtime.bigint());

const agesMs: number[] = [];
let firstNs = Number.NaN;
let lastId = 0;
let ended = false;
let heardNs = nowNs();
console.log('ready');
while (!ended) {
  const rows = news.all(lastId) as [number, number, number][];
  const seenNs = nowNs();
  if (rows.length > 0) heardNs = seenNs;
  else if (seenNs - heardNs > PATIENCE_MS * 1e6) throw new Error(`no row after ${lastId}`);
  for (const [id, at, last] of rows) {
    if (Number.isNaN(firstNs)) firstNs = at;
    agesMs.push((seenNs - at) / 1e6);
    lastId = id;
    ended ||= last === 1;
  }
  if (!ended) Atomics.wait(pause, 0, 0, PAUSE_MS);
}
db.close();

const result: WatchResult = {
  p50Ms: quantile(agesMs, 0.5),
  p99Ms: quantile(agesMs, 0.99),
  mostMs: quantile(agesMs, 1),
  endMs: median(agesMs.slice(-Math.ceil(agesMs.length / 10))),
  seconds: (nowNs() - firstNs) / 1e9,
};
console.log(JSON.stringify(result));
