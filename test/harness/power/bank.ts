/**
 * A database of which every committed state is known: transaction `k` of a life does what `life`, `epoch` and `k` alone
 * decide, so whoever finds a state `k` in a file knows each row that must be in it. An epoch begins whenever an
 * application opens the database: after a power cut the same numbers are given to other content.
 */
import type Sqlite from 'better-sqlite3';
import { SeededRandom } from '../random.ts';

const ROWS = 500;
const BALANCE = 1000;
const PAD_BYTES_MAX = 1100;
/** How many of the newest transactions the database tells of. */
const NOTES_KEPT = 50;
/** More than any check makes. */
const STATES_MAX = 1_000_000;

/** Which state a database is in. */
export interface BankState {
  /** A making of the database: a random number. */
  readonly life: number;
  readonly k: number;
  readonly epoch: number;
}

interface Move {
  readonly from: number;
  readonly to: number;
  readonly amount: number;
}

function mixed(...numbers: readonly number[]): SeededRandom {
  let seed = 0x9e3779b9;
  for (const number of numbers) seed = Math.imul(seed ^ number, 0x85ebca6b) ^ (seed >>> 13);
  return new SeededRandom(seed >>> 0);
}

/** What transaction `k` moves. */
function movesOf(life: number, epoch: number, k: number): Move[] {
  const random = mixed(life, epoch, k);
  const size = random.below(100);
  const count = size < 70 ? 1 + random.below(4) : size < 92 ? 20 : 100;
  return Array.from({ length: count }, () => ({
    from: 1 + random.below(ROWS),
    to: 1 + random.below(ROWS),
    amount: random.below(100),
  }));
}

function padOf(life: number, epoch: number, k: number, id: number): Buffer {
  const random = mixed(life, epoch, k, id);
  const fill = random.below(0x7fffffff).toString(16);
  return Buffer.alloc(50 + random.below(PAD_BYTES_MAX - 50), fill);
}

/** Makes the tables, as transaction 0. */
export function createBank(db: Sqlite.Database, life: number): void {
  const insert = () => {
    db.exec(`
      CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, at INT, epoch INT, pad BLOB);
      CREATE TABLE meta(id INTEGER PRIMARY KEY, life INT, k INT, epoch INT);
      CREATE TABLE epochs(first INTEGER PRIMARY KEY, epoch INT);
      CREATE TABLE notes(k INTEGER PRIMARY KEY, epoch INT);
      CREATE INDEX t_v ON t(v);`);
    db.prepare('INSERT INTO meta VALUES(1, ?, 0, 0)').run(life);
    const row = db.prepare('INSERT INTO t VALUES(?, ?, 0, 0, ?)');
    for (let id = 1; id <= ROWS; id++) row.run(id, BALANCE, padOf(life, 0, 0, id));
  };
  db.transaction(insert).immediate();
}

/** Which state it says that it is in; undefined when it is no bank yet. */
export function stateOf(db: Sqlite.Database): BankState | undefined {
  const known = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get();
  if (!known) return undefined;
  return db.prepare('SELECT life, k, epoch FROM meta').get() as BankState | undefined;
}

/** Makes the next transaction. `epoch`: another than the present one, to begin it. */
export function advance(db: Sqlite.Database, epoch?: number): BankState {
  const step = db.transaction((): BankState => {
    const { life, k: before, epoch: present } = stateOf(db) as BankState;
    const k = before + 1;
    if (epoch !== undefined) db.prepare('INSERT INTO epochs VALUES(?, ?)').run(k, epoch);
    const current = epoch ?? present;
    db.prepare('UPDATE meta SET k = ?, epoch = ?').run(k, current);
    db.prepare('INSERT INTO notes VALUES(?, ?)').run(k, current);
    db.prepare('DELETE FROM notes WHERE k <= ?').run(k - NOTES_KEPT);
    const change = db.prepare('UPDATE t SET v = v + ?, at = ?, epoch = ?, pad = ? WHERE id = ?');
    for (const { from, to, amount } of movesOf(life, current, k)) {
      change.run(-amount, k, current, padOf(life, current, k, from), from);
      change.run(amount, k, current, padOf(life, current, k, to), to);
    }
    return { life, k, epoch: current };
  });
  return step.immediate();
}

interface Row {
  readonly id: number;
  v: number;
  at: number;
  epoch: number;
}

/** The rows of a state, by what has led to it. */
function rowsAt({ life, k }: BankState, epochs: ReadonlyMap<number, number>): Row[] {
  const rows = Array.from({ length: ROWS }, (_, i) => ({ id: i + 1, v: BALANCE, at: 0, epoch: 0 }));
  let epoch = 0;
  for (let step = 1; step <= k; step++) {
    epoch = epochs.get(step) ?? epoch;
    for (const { from, to, amount } of movesOf(life, epoch, step)) {
      for (const [id, change] of [
        [from, -amount],
        [to, amount],
      ] as const) {
        const row = rows[id - 1];
        row.v += change;
        row.at = step;
        row.epoch = epoch;
      }
    }
  }
  return rows;
}

/** What is wrong with the state that a database says it is in; undefined when all of it is there, and nothing else. */
export function faultOf(db: Sqlite.Database): string | undefined {
  const check = db.pragma('integrity_check', { simple: true });
  if (check !== 'ok') return `integrity_check: ${String(check).slice(0, 200)}`;
  const state = stateOf(db);
  if (!state) return undefined;
  if (!(state.k >= 0 && state.k <= STATES_MAX)) return `state ${state.k} cannot be`;
  const epochs = new Map(
    db.prepare('SELECT first, epoch FROM epochs').raw().all() as [number, number][],
  );
  const rows = db.prepare('SELECT id, v, at, epoch, pad FROM t ORDER BY id').all() as (Row & {
    pad: Buffer;
  })[];
  const expected = rowsAt(state, epochs);
  if (rows.length !== ROWS) return `${rows.length} rows at ${state.k}, not ${ROWS}`;
  for (const [i, row] of rows.entries()) {
    const { id, v, at, epoch } = expected[i];
    const same = row.id === id && row.v === v && row.at === at && row.epoch === epoch;
    if (!same || !row.pad.equals(padOf(state.life, epoch, at, id))) {
      return `row ${id} at ${state.k} is of ${row.at}, not ${at}`;
    }
  }
  const notes = db.prepare('SELECT min(k), max(k), count(*) FROM notes').raw().get() as number[];
  const count = Math.min(state.k, NOTES_KEPT);
  const [first, last] = count === 0 ? [null, null] : [state.k - count + 1, state.k];
  if (notes[0] !== first || notes[1] !== last || notes[2] !== count) {
    return `notes ${notes.join(', ')} at ${state.k}`;
  }
  return undefined;
}
