/** An application that reads for a while: rows by their key, then all of the table again and again. */
import Sqlite from 'better-sqlite3';
import { jobOptions } from '../job.ts';

export interface ReadOptions {
  readonly file: string;
  readonly rows: number;
  /** For each of the two. */
  readonly ms: number;
}

export interface ReadResult {
  readonly pointsPerSecond: number;
  readonly scannedMbPerSecond: number;
}

/** Coprime to any number of rows that is a round one, so that the keys come in no order and none is left out. */
const STRIDE = 7919;

const { file, rows, ms } = jobOptions<ReadOptions>();
const db = new Sqlite(file, { readonly: true, timeout: 10_000 });
const point = db.prepare('SELECT data FROM t WHERE id = ?').pluck();
const scan = db.prepare('SELECT sum(length(data)) FROM t').pluck();

/** How much `work` gets done in a second, by what it returns. */
function perSecond(work: () => number): number {
  let amount = 0;
  const startedMs = performance.now();
  let nowMs = startedMs;
  for (; nowMs - startedMs < ms; nowMs = performance.now()) amount += work();
  return amount / ((nowMs - startedMs) / 1000);
}

let key = 0;
const readPoint = () => {
  key = (key + STRIDE) % rows;
  if (point.get(key + 1) === undefined) throw new Error(`no row ${key + 1}`);
  return 1;
};
for (let i = 0; i < 1000; i++) readPoint();
scan.get();
const result: ReadResult = {
  pointsPerSecond: perSecond(readPoint),
  scannedMbPerSecond: perSecond(() => (scan.get() as number) / 1e6),
};
db.close();
console.log(JSON.stringify(result));
