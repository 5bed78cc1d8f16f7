/** An application that opens the database for each row that it inserts, and closes it, for a while. */
import Sqlite from 'better-sqlite3';
import { jobOptions, timesMs } from '../job.ts';
import { quantile } from '../statistics.ts';

export interface ShortLivedOptions {
  readonly file: string;
  readonly ms: number;
}

export interface ShortLivedResult {
  readonly connectionsPerSecond: number;
  readonly p90Us: number;
}

const WARM_UP = 20;

const { file, ms } = jobOptions<ShortLivedOptions>();

function insertOne(): void {
  const db = new Sqlite(file, { timeout: 10_000 });
  db.exec('INSERT INTO t(data) VALUES(zeroblob(100))');
  db.close();
}

for (let i = 0; i < WARM_UP; i++) insertOne();
const tookMs = timesMs(ms, insertOne);
const seconds = tookMs.reduce((sum, one) => sum + one, 0) / 1000;
const result: ShortLivedResult = {
  connectionsPerSecond: tookMs.length / seconds,
  p90Us: quantile(tookMs, 0.9) * 1000,
};
console.log(JSON.stringify(result));
