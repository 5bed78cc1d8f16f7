/**
 * An application for power cuts, a process of its own: `node app.ts <settings as JSON>`. It writes banks (bank.ts) in all
 * the ways that applications have, and notes each commit that has returned, and whether that is a promise.
 *
 * It prints a dot for each commit. SIGTERM ends it after the transaction that it is at, with all connections closed; so does `transactions`. Status 0 then,
 * 1 at any error.
 */
import fs from 'node:fs';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { SeededRandom } from '../random.ts';
import { advance, createBank, stateOf } from './bank.ts';

export interface BankSettings {
  readonly name: string;
  readonly journalMode: 'wal' | 'delete' | 'truncate' | 'persist';
  readonly synchronous: 'off' | 'normal' | 'full' | 'extra';
  /** In pages; 0: never by itself. */
  readonly autocheckpoint: number;
  /** In pages: a small one spills to the file before the commit. */
  readonly cacheSize: number;
}

export interface AppSettings {
  readonly dir: string;
  readonly banks: readonly BankSettings[];
  readonly seed: number;
  /** Of the banks, from now on. */
  readonly epoch: number;
  /** The file that notes are written to; absent: none are. */
  readonly notes?: string;
  /** Ends by itself after so many. */
  readonly transactions?: number;
  /** Drops databases and makes them again now and then. */
  readonly drops?: boolean;
  /** The longest pause between two transactions, ms. */
  readonly pauseMsMax: number;
}

/** What an application tells of itself, in one line of JSON. */
export type AppNote =
  /** A commit has returned. `durable`: SQLite promises that it is there after a power cut. */
  | { kind: 'done'; db: string; life: number; k: number; epoch: number; durable: boolean }
  /** Its files are about to be removed. */
  | { kind: 'dropping'; db: string };

/**
 * Whether a commit is on the disk when it returns. Not under DELETE and FULL: the removal of the journal is flushed
 * with `extra` only.
 */
function isDurable({ journalMode, synchronous }: BankSettings): boolean {
  if (synchronous === 'extra') return true;
  return synchronous === 'full' && journalMode !== 'delete';
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

class BankClient {
  readonly #settings: AppSettings;
  readonly #bank: BankSettings;
  readonly #random: SeededRandom;
  readonly #note: (note: AppNote) => void;
  #db: Sqlite.Database | undefined;
  #begun = false;

  constructor(settings: AppSettings, bank: BankSettings, note: (note: AppNote) => void) {
    this.#settings = settings;
    this.#bank = bank;
    this.#note = note;
    this.#random = new SeededRandom(settings.seed ^ settings.banks.indexOf(bank));
  }

  step(random: SeededRandom): void {
    const chance = random.below(1000);
    if (chance < 3 && this.#settings.drops) this.#drop();
    else if (chance < 30) this.close();
    else if (chance < 60) this.#checkpoint();
    else if (chance < 63) this.#open().exec('VACUUM');
    else this.#advance();
  }

  close(): void {
    this.#db?.close();
    this.#db = undefined;
  }

  #open(): Sqlite.Database {
    if (this.#db) return this.#db;
    const { journalMode, synchronous, autocheckpoint, cacheSize, name } = this.#bank;
    const db = new Sqlite(path.join(this.#settings.dir, name), { timeout: 20_000 });
    this.#db = db;
    db.pragma(`synchronous = ${synchronous}`);
    db.pragma(`journal_mode = ${journalMode}`);
    db.pragma(`wal_autocheckpoint = ${autocheckpoint}`);
    db.pragma(`cache_size = ${cacheSize}`);
    if (stateOf(db)) return db;
    const life = this.#random.below(0x7fffffff);
    createBank(db, life);
    this.#done(life, 0, 0);
    return db;
  }

  #advance(): void {
    const { life, k, epoch } = advance(
      this.#open(),
      this.#begun ? undefined : this.#settings.epoch,
    );
    this.#begun = true;
    this.#done(life, k, epoch);
  }

  #done(life: number, k: number, epoch: number): void {
    const durable = isDurable(this.#bank);
    this.#note({ kind: 'done', db: this.#bank.name, life, k, epoch, durable });
  }

  #checkpoint(): void {
    const mode = this.#random.pick(['PASSIVE', 'FULL', 'RESTART', 'TRUNCATE']);
    if (this.#bank.journalMode === 'wal') this.#open().pragma(`wal_checkpoint(${mode})`);
    else this.#advance();
  }

  #drop(): void {
    const { name } = this.#bank;
    this.#note({ kind: 'dropping', db: name });
    this.close();
    for (const suffix of ['', '-wal', '-shm', '-journal']) {
      fs.rmSync(path.join(this.#settings.dir, name + suffix), { force: true });
    }
    this.#begun = false;
  }
}

function run(settings: AppSettings): void {
  const notes = settings.notes === undefined ? undefined : fs.openSync(settings.notes, 'w');
  const note = (told: AppNote) => {
    if (notes !== undefined) fs.writeSync(notes, JSON.stringify(told));
    if (told.kind === 'done') fs.writeSync(1, '.');
  };
  const random = new SeededRandom(settings.seed);
  const clients = settings.banks.map((bank) => new BankClient(settings, bank, note));
  let done = 0;
  const end = () => {
    for (const client of clients) client.close();
    process.exit(0);
  };
  let isEnding = false;
  process.on('SIGTERM', () => {
    isEnding = true;
  });
  const next = () => {
    if (isEnding || done++ === settings.transactions) end();
    random.pick(clients).step(random);
    const pauseMs = random.below(settings.pauseMsMax + 1);
    if (pauseMs > 0) Atomics.wait(sleeper, 0, 0, pauseMs);
    setImmediate(next);
  };
  next();
}

if (import.meta.main) {
  try {
    run(JSON.parse(process.argv[2]) as AppSettings);
  } catch (error) {
    fs.writeSync(2, `${(error as Error).stack}\n`);
    process.exit(1);
  }
}
