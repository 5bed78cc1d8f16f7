/**
 * An application for tests, a process of its own: reads and writes until its standard input ends, waiting for locks at most
 * as long as its busy_timeout. Arguments: file, busy_timeout in ms. Then prints what it has seen, as JSON:
 * `{reads, writes, longestMs, errors}`. The two columns of `pair` are equal in every state.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import Sqlite from 'better-sqlite3';

const [file, timeout] = process.argv.slice(2);
const db = new Sqlite(file, { timeout: Number(timeout) });
const seen = { reads: 0, writes: 0, longestMs: 0, errors: [] as string[] };
let ended = false;
process.stdin.on('end', () => (ended = true)).resume();

function timed(step: () => void): void {
  const startedMs = performance.now();
  try {
    step();
  } catch (error) {
    seen.errors.push(`${error}`);
  }
  seen.longestMs = Math.max(seen.longestMs, performance.now() - startedMs);
}

function turn(): void {
  timed(() => {
    const row = db.prepare('SELECT a, b, (SELECT count(*) FROM t) AS n FROM pair').get() as Record<
      string,
      number
    >;
    assert.equal(row.a, row.b);
    assert(row.n > 0);
    seen.reads++;
  });
  timed(() => {
    db.exec('BEGIN IMMEDIATE; UPDATE pair SET a = a + 1; UPDATE pair SET b = b + 1; COMMIT');
    seen.writes++;
  });
  if (seen.writes === 1) fs.writeSync(1, 'goes\n');
  if (!ended) {
    setTimeout(turn, 2);
    return;
  }
  db.close();
  fs.writeSync(1, `${JSON.stringify(seen)}\n`);
}

turn();
