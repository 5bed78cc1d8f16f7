/**
 * An application that commits rows that tell when they were written, at a rate. Ends after a number of rows, with a
 * last row that says so, or when its standard input ends.
 */
import Sqlite from 'better-sqlite3';
import { jobOptions } from '../job.ts';

export interface PacedWriteOptions {
  readonly file: string;
  /** Commits/s; null for as fast as it goes. */
  readonly rate: number | null;
  readonly commits: number;
  /** Keeps the database open after the last one, until its standard input ends. */
  readonly stays?: boolean;
}

export interface PacedWriteResult {
  readonly commitsPerSecond: number;
}

/** How often to look whether it is asked to end, ms. */
const LOOK_MS = 50;
const NS_PER_MS = 1e6;

const { file, rate, commits, stays = false } = jobOptions<PacedWriteOptions>();
const pause = new Int32Array(new SharedArrayBuffer(4));
let stopping = false;
process.stdin.resume().on('end', () => {
  stopping = true;
});

const db = new Sqlite(file, { timeout: 10_000 });
db.pragma('synchronous = normal');
const insert = db.prepare('INSERT INTO seen(at, last, data) VALUES(?, ?, zeroblob(100))');
/** The monotonic clock, which all processes of a machine share, as a number: ns since the machine started. */
const nowNs = () => Number(process.hrtime.bigint());

const startedNs = nowNs();
let done = 0;
function writeForAWhile(): void {
  const untilNs = nowNs() + LOOK_MS * NS_PER_MS;
  while (!stopping && done < commits && nowNs() < untilNs) {
    if (rate !== null) {
      const aheadMs = (startedNs + (done / rate) * 1e9 - nowNs()) / NS_PER_MS;
      if (aheadMs > 0) Atomics.wait(pause, 0, 0, aheadMs);
    }
    insert.run(nowNs(), ++done === commits ? 1 : 0);
  }
  if (!stopping && done < commits) setImmediate(writeForAWhile);
  else if (stays && !stopping) process.stdin.on('end', finish);
  else finish();
}

function finish(): void {
  const result: PacedWriteResult = { commitsPerSecond: done / ((nowNs() - startedNs) / 1e9) };
  db.close();
  process.stdin.destroy();
  console.log(JSON.stringify(result));
}

writeForAWhile();
console.log('ready');
