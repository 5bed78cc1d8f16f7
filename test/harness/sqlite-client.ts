/**
 * Applications for tests, processes of their own, on a bank of two tables: every transaction moves money between
 * them and notes it, so the sum is the same in every snapshot. `node sqlite-client.ts <job> <file> …`:
 *
 * - write <file> <transactions> <busy timeout>: ends by itself;
 * - read <file>: with no busy timeout at all, until its standard input ends; then prints how often it has read;
 * - keep <file>: the same with one connection that stays open;
 * - hold <file> <ms>: so does this, in transactions that last so long, and see one state all the while.
 *
 * Any error, or a sum that is wrong, ends it with status 1.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import Sqlite from 'better-sqlite3';

const ACCOUNTS = 20;
const BALANCE = 1000;
const TOTAL = 2 * ACCOUNTS * BALANCE;
const CHECK_EVERY = 20;

/** Makes the tables, in the journal mode that is asked for. */
export function createBank(file: string, mode: string): void {
  const db = new Sqlite(file);
  try {
    db.pragma(`journal_mode = ${mode}`);
    db.exec(`
      BEGIN;
      CREATE TABLE a(id INTEGER PRIMARY KEY, n INT);
      CREATE TABLE b(id INTEGER PRIMARY KEY, n INT);
      CREATE TABLE moves(id INTEGER PRIMARY KEY, n INT, note BLOB);
      WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < ${ACCOUNTS})
      INSERT INTO a SELECT id, ${BALANCE} FROM ids;
      INSERT INTO b SELECT id, n FROM a;
      COMMIT;`);
  } finally {
    db.close();
  }
}

/** A function that makes one transaction, with a note of that size. */
export function bankWriter(db: Sqlite.Database, noteBytes = 700): () => void {
  const take = db.prepare('UPDATE a SET n = n - ? WHERE id = ?');
  const give = db.prepare('UPDATE b SET n = n + ? WHERE id = ?');
  const note = db.prepare(`INSERT INTO moves(n, note) VALUES(?, zeroblob(${noteBytes}))`);
  let turn = 0;
  return db.transaction(() => {
    turn++;
    take.run(turn % 50, (turn % ACCOUNTS) + 1);
    give.run(turn % 50, ((turn * 7) % ACCOUNTS) + 1);
    note.run(turn % 50);
  }).immediate;
}

/** Reads in two statements of one transaction, and asserts that they tell of one state. Returns the moves. */
export function checkBank(db: Sqlite.Database): number {
  return db.transaction(() => {
    const moved = db.prepare('SELECT count(*) AS count, total(n) AS n FROM moves').get() as {
      count: number;
      n: number;
    };
    const sums = db
      .prepare('SELECT (SELECT sum(n) FROM a) AS a, (SELECT sum(n) FROM b) AS b')
      .get() as { a: number; b: number };
    assert.equal(sums.a + sums.b, TOTAL);
    assert.equal(sums.b, ACCOUNTS * BALANCE + moved.n, 'the notes tell of what was moved');
    return moved.count;
  })();
}

export interface ClientRun {
  /** Ends its standard input. */
  end(): void;
  /** What it printed; rejects unless it ends with 0. */
  readonly output: Promise<string>;
}

export function runClient(...args: string[]): ClientRun {
  const child = spawn(process.execPath, [import.meta.filename, ...args]);
  let output = '';
  let errors = '';
  child.stdout.on('data', (text) => (output += text));
  child.stderr.on('data', (text) => (errors += text));
  return {
    end: () => child.stdin.end(),
    output: new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status) => {
        if (status === 0) resolve(output.trim());
        else reject(new Error(`${args.join(' ')} ended with ${status}: ${errors}`));
      });
    }),
  };
}

function write(file: string, transactions: number, timeout: number): void {
  const db = new Sqlite(file, { timeout });
  const transact = bankWriter(db);
  for (let i = 0; i < transactions; i++) transact();
  db.close();
}

function readUntilEnd(file: string): void {
  let reads = 0;
  let ended = false;
  process.stdin.resume().on('end', () => {
    ended = true;
  });
  const readOnce = () => {
    const db = new Sqlite(file, { readonly: true, timeout: 0 });
    checkBank(db);
    if (++reads % CHECK_EVERY === 0) {
      assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
    }
    db.close();
    if (ended) process.stdout.write(`${reads}\n`);
    else setImmediate(readOnce);
  };
  readOnce();
}

/** Reads with one connection; each transaction lasts `holdMs`. */
function keepReading(file: string, holdMs: number): void {
  const db = new Sqlite(file, { readonly: true, timeout: 0 });
  const state = db
    .prepare(
      'SELECT (SELECT count(*) FROM moves) || (SELECT sum(n) FROM a) || (SELECT group_concat(n) FROM b)',
    )
    .pluck();
  let reads = 0;
  let ended = false;
  process.stdin.resume().on('end', () => {
    ended = true;
  });
  const next = () => {
    if (++reads && ended) process.stdout.write(`${reads}\n`);
    else setImmediate(readOnce);
  };
  const goOn = (before: unknown, untilMs: number) => {
    assert.equal(state.get(), before);
    if (performance.now() < untilMs) {
      setTimeout(goOn, 20, before, untilMs);
      return;
    }
    assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
    db.exec('COMMIT');
    next();
  };
  const readOnce = () => {
    checkBank(db);
    if (holdMs === 0) {
      next();
      return;
    }
    db.exec('BEGIN');
    goOn(state.get(), performance.now() + holdMs);
  };
  readOnce();
}

if (import.meta.main) {
  const [job, file, ...rest] = process.argv.slice(2);
  if (job === 'write') write(file, Number(rest[0]), Number(rest[1]));
  else if (job === 'read') readUntilEnd(file);
  else keepReading(file, Number(rest[0] ?? 0));
}
