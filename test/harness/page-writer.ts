/** Changes rows all over table t, one commit after the other, until its standard input ends. Arguments: file, journal mode. */
import Sqlite from 'better-sqlite3';

const ROWS = 2000;
const ROWS_PER_COMMIT = 20;

const [file, mode] = process.argv.slice(2);
const db = new Sqlite(file, { timeout: 120_000 });
db.pragma(`journal_mode = ${mode}`);
const update = db.prepare('UPDATE t SET data = randomblob(3000) WHERE id = ?');
let commits = 0;
let longestMs = 0;
const commit = db.transaction(() => {
  for (let i = 0; i < ROWS_PER_COMMIT; i++) update.run(1 + ((commits * 37 + i * 101) % ROWS));
});

function next(): void {
  const startedMs = performance.now();
  commit();
  commits++;
  longestMs = Math.max(longestMs, performance.now() - startedMs);
  turn = setImmediate(next);
}

let turn = setImmediate(next);
process.stdout.write('goes\n');
process.stdin.on('end', () => {
  clearImmediate(turn);
  db.close();
  process.stdout.write(`${JSON.stringify({ commits, longestMs })}\n`);
});
process.stdin.resume();
