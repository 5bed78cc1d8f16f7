/** An application that inserts rows as fast as it can, for a while. */
import Sqlite from 'better-sqlite3';
import { jobOptions, timesMs } from '../job.ts';
import { quantile } from '../statistics.ts';

export interface WriteOptions {
  readonly file: string;
  readonly journalMode: 'wal' | 'delete';
  readonly synchronous: 'normal' | 'full';
  readonly rowsPerTransaction: number;
  readonly ms: number;
}

export interface WriteResult {
  readonly transactionsPerSecond: number;
  readonly rowsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

const WARM_UP_MS = 150;
const ROW_BYTES = 100;

const { file, journalMode, synchronous, rowsPerTransaction, ms } = jobOptions<WriteOptions>();
const db = new Sqlite(file, { timeout: 10_000 });
db.pragma(`journal_mode = ${journalMode}`);
db.pragma(`synchronous = ${synchronous}`);
db.exec('CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, data BLOB)');
const insert = db.prepare('INSERT INTO t(data) VALUES(?)');
const data = Buffer.alloc(ROW_BYTES, 'x');
const insertMany = db.transaction(() => {
  for (let row = 0; row < rowsPerTransaction; row++) insert.run(data);
});
const transact = rowsPerTransaction === 1 ? () => insert.run(data) : () => insertMany();

timesMs(WARM_UP_MS, transact);
const tookMs = timesMs(ms, transact);
const seconds = tookMs.reduce((sum, one) => sum + one, 0) / 1000;
db.close();
const result: WriteResult = {
  transactionsPerSecond: tookMs.length / seconds,
  rowsPerSecond: (tookMs.length * rowsPerTransaction) / seconds,
  p50Us: quantile(tookMs, 0.5) * 1000,
  p99Us: quantile(tookMs, 0.99) * 1000,
};
console.log(JSON.stringify(result));
