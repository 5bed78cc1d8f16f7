/** One writer of a round: a process that does what the plan's theme is about, is killed, and comes back. */
import { setTimeout as wait } from 'node:timers/promises';
import { SeededRandom } from '../random.ts';
import { type Fate, SqlDriver, type SqlResult } from '../sql-driver.ts';
import { ACCOUNTS, ballast, HISTORY, halfTransfer, recorded, rewritten, transfer } from './bank.ts';
import type { Ledger } from './ledger.ts';
import { MODES, type RoundPlan, SYNCHRONOUS, type Theme } from './plan.ts';

/** With others about: long enough for every lock to be given back. */
const TIMEOUT_MS = 10_000;
const FILL_BYTES = 8;
const CHECKPOINTS = ['passive', 'full', 'restart', 'truncate'];
const SWITCHED_PAGE_SIZES = [512, 1024, 2048, 4096];
const PRIMARY_CODES = 0xff;
const LOCK_CODES = [5, 6, 15, 17]; // BUSY, LOCKED, PROTOCOL, SCHEMA
const CORRUPT = 11;

type Deed =
  | 'transfer'
  | 'bulk'
  | 'savepoint'
  | 'rollback'
  | 'ballast'
  | 'checkpoint'
  | 'settings'
  | 'mode'
  | 'vacuum'
  | 'pages'
  | 'reopen'
  | 'locking';

/** How often of a hundred, beside what every theme has. */
const WEIGHTS: Record<Theme, Partial<Record<Deed, number>>> = {
  steady: { transfer: 60 },
  spilling: { bulk: 40, rollback: 10 },
  savepoints: { savepoint: 45, bulk: 10 },
  switches: { mode: 25, settings: 10, transfer: 20 },
  exclusive: { locking: 20, bulk: 10, mode: 5 },
  'short-lived': { transfer: 40 },
  checkpoints: { checkpoint: 40, settings: 10 },
  vacuum: { vacuum: 12, pages: 8, ballast: 25 },
  crowd: { transfer: 25, bulk: 15, checkpoint: 10, savepoint: 5 },
};
const ALWAYS: Partial<Record<Deed, number>> = {
  transfer: 20,
  bulk: 6,
  savepoint: 4,
  rollback: 3,
  ballast: 8,
  checkpoint: 3,
  settings: 2,
  mode: 1,
  vacuum: 1,
  reopen: 2,
};

export interface WriterParts {
  readonly plan: RoundPlan;
  readonly ledger: Ledger;
  readonly file: string;
  readonly program: string;
  /** Which of the round's writers. */
  readonly index: number;
  /** Starts a process; the default is one that runs by itself. */
  readonly drive?: (program: string) => SqlDriver;
  /** Lets so many ms pass, by the clock of whoever drives it. */
  readonly rest?: (ms: number) => Promise<void>;
}

export class Writer {
  readonly #parts: WriterParts;
  readonly #random: SeededRandom;
  readonly #deeds: Deed[];
  readonly #rest: (ms: number) => Promise<void>;
  #driver: SqlDriver | undefined;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#rest = parts.rest ?? wait;
    this.#random = new SeededRandom(parts.plan.seed * 31 + parts.index + 1);
    const weights = { ...ALWAYS };
    for (const [deed, weight] of Object.entries(WEIGHTS[parts.plan.theme])) {
      weights[deed as Deed] = (weights[deed as Deed] ?? 0) + weight;
    }
    this.#deeds = Object.entries(weights).flatMap(([deed, weight]) =>
      Array.from({ length: weight }, () => deed as Deed),
    );
  }

  get #isAlone(): boolean {
    return this.#parts.plan.sqlites.length === 1;
  }

  /** Whether a SQLite has been killed that has no way back from that in each case (ledger.ts). */
  get #mayWreck(): boolean {
    const { plan, ledger } = this.#parts;
    return ledger.kills > 0 && plan.sqlites.some((name) => name !== 'newest');
  }

  /** All that it has to do. */
  async run(): Promise<void> {
    const { plan, ledger } = this.#parts;
    await this.#open();
    for (let done = 0; done < plan.transactions && !ledger.isWrecked; done++) {
      // The node went, and all that had its mount open.
      if (this.#driver?.isEnded) await this.#open();
      if (plan.theme === 'short-lived') await this.#reopen();
      if (plan.kills && this.#random.below(12) === 0) await this.#actAndDie();
      else await this.#act(this.#random.pick(this.#deeds));
      if (this.#random.below(6) === 0) await this.#rest(this.#random.below(12));
    }
  }

  /** Gives back locks that keep readers out, if it has some: from a -wal without a -shm there is no other way back. */
  async settle(): Promise<void> {
    if (this.#parts.plan.theme === 'exclusive') await this.#reopen();
  }

  /** Lets it close the database, or leaves that to its end. */
  async end(): Promise<void> {
    await this.#driver?.end();
  }

  async kill(): Promise<void> {
    await this.#driver?.kill();
  }

  async #open(): Promise<void> {
    const { program, file, plan, ledger } = this.#parts;
    const committed = [...ledger.committed];
    const { drive = (its: string) => new SqlDriver(its) } = this.#parts;
    const driver = drive(program);
    this.#driver = driver;
    await driver.open(file, { timeoutMs: this.#isAlone ? 0 : TIMEOUT_MS });
    await this.#run([
      `PRAGMA synchronous=${plan.synchronous}`,
      `PRAGMA cache_size=${plan.cachePages}`,
    ]);
    await this.#run([`PRAGMA wal_autocheckpoint=${plan.autocheckpoint}`]);
    const [listed] = await this.#rows([HISTORY]);
    if (listed !== undefined) ledger.recovered(listed.split(',').map(Number), committed);
    if (this.#mayWreck) {
      const found = await this.#run(['PRAGMA integrity_check(1)']);
      ledger.isWrecked ||= found.ok === true && found.rows[0] !== 'ok';
    }
    // The modes with a rollback journal are each connection's own.
    if ((await this.#mode()) !== 'wal' && plan.mode !== 'wal') {
      await this.#run([`PRAGMA journal_mode=${plan.mode}`]);
      await this.#mode();
    }
  }

  async #mode(): Promise<string> {
    const rows = await this.#rows(['SELECT 1 FROM sqlite_master LIMIT 1', 'PRAGMA journal_mode']);
    const mode = rows[1] ?? '';
    this.#parts.ledger.isJournalless ||= mode === 'memory' || mode === 'off';
    return mode;
  }

  async #rows(statements: readonly string[]): Promise<readonly string[]> {
    const result = await this.#run(statements);
    return result.ok ? result.rows : [];
  }

  async #reopen(): Promise<void> {
    await this.#driver?.end();
    await this.#open();
  }

  /** Runs statements, and takes down what is no concern of other writers. */
  async #run(statements: readonly string[]): Promise<SqlResult> {
    const { plan, ledger } = this.#parts;
    const result = (await this.#driver?.run(statements)) ?? { ok: undefined };
    if (result.ok === false) {
      const { code, message, statement } = result.error;
      const isLock = LOCK_CODES.includes(code & PRIMARY_CODES);
      ledger.isWrecked ||= (code & PRIMARY_CODES) === CORRUPT && this.#mayWreck;
      if (!ledger.isWrecked && (this.#isAlone || !isLock)) {
        const sql = statements[statement].replaceAll(/\s+/g, ' ').slice(0, 60);
        ledger.faults.push(`${plan.sqlites[this.#parts.index]}: ${message} (${code}) at ${sql}`);
      }
    }
    return result;
  }

  /** One transaction, known by its number. */
  async #commit(token: number, statements: readonly string[]): Promise<SqlResult> {
    const { ledger } = this.#parts;
    const all = ['BEGIN IMMEDIATE', ...statements, ...recorded(token), 'COMMIT'];
    const result = await this.#run(all);
    const where = result.ok
      ? ledger.committed
      : result.ok === false
        ? ledger.refused
        : ledger.killed;
    where.add(token);
    return result;
  }

  #bulkTimes(): number {
    // A hundred pages or more, of any size.
    const { pageSize } = this.#parts.plan;
    const times = Math.floor(
      (Math.min(pageSize, 4096) * (0.6 + this.#random.below(100) / 100)) / FILL_BYTES,
    );
    return Math.max(1, times);
  }

  #transfer(token: number): string[] {
    const count = 1 + this.#random.below(6);
    return transfer(token, this.#random.below(ACCOUNTS), count, 10 + this.#random.below(100));
  }

  async #act(deed: Deed): Promise<SqlResult> {
    const { ledger } = this.#parts;
    const random = this.#random;
    const journaled = deed === 'savepoint' || deed === 'rollback';
    // Nothing can be rolled back without a journal.
    if (journaled && (await this.#mode()) === 'off') return this.#act('transfer');
    const token = ledger.take();
    switch (deed) {
      case 'transfer':
        return this.#commit(token, this.#transfer(token));
      case 'bulk':
        return this.#commit(token, this.#bulk(token));
      case 'savepoint':
        return this.#commit(token, this.#savepoints(token));
      case 'rollback':
        ledger.refused.add(token);
        return this.#run(['BEGIN IMMEDIATE', ...this.#bulk(token), ...recorded(token), 'ROLLBACK']);
      case 'ballast': {
        const rows = ballast(token, random.below(600), 1 + random.below(60), 1 + random.below(60));
        const less = `DELETE FROM ballast WHERE id % 5 = ${random.below(5)}`;
        return this.#commit(
          token,
          random.below(3) === 0 ? [less] : [rows, ...this.#transfer(token)],
        );
      }
      case 'checkpoint':
        return this.#run([`PRAGMA wal_checkpoint(${random.pick(CHECKPOINTS)})`]);
      case 'settings':
        return this.#run([this.#setting()]);
      case 'mode':
        return this.#switchMode();
      case 'vacuum':
        return this.#run([random.below(3) === 0 ? 'PRAGMA incremental_vacuum(5)' : 'VACUUM']);
      case 'pages':
        return this.#otherPages();
      case 'reopen':
        await this.#reopen();
        return { ok: true, rows: [] };
      case 'locking': {
        if (!this.#isAlone) return this.#commit(token, this.#transfer(token));
        const locking = random.below(2) === 0 ? 'exclusive' : 'normal';
        return this.#run([`PRAGMA locking_mode=${locking}`, 'SELECT count(*) FROM sqlite_master']);
      }
    }
  }

  /** More than fits in the cache, maybe some of it twice. */
  #bulk(token: number): string[] {
    const all = rewritten(token, this.#bulkTimes());
    const again = `${all} WHERE id % 3 = ${this.#random.below(3)}`;
    return this.#random.below(2) === 0 ? [all] : [again, all, again];
  }

  /** Rolls back what has been spilled, and goes on. */
  #savepoints(token: number): string[] {
    const rows = ballast(token, 5000, ACCOUNTS, this.#bulkTimes());
    const some = `WHERE id % ${1 + this.#random.below(4)} = 0`;
    // Some pages are written to the -wal twice, and maybe not the first of the savepoint.
    const twice = [1, 2].map(() => `${rewritten(token, this.#bulkTimes())} ${some}`);
    const nested = ['SAVEPOINT inner_one', halfTransfer(token), 'ROLLBACK TO inner_one'];
    return [
      ...(this.#random.below(2) === 0 ? this.#transfer(token) : []),
      'SAVEPOINT s',
      ...(this.#random.below(3) === 0 ? nested : []),
      ...(this.#random.below(4) === 0 ? [halfTransfer(token)] : [rows]),
      ...(this.#random.below(2) === 0 ? twice : []),
      'ROLLBACK TO s',
      'RELEASE s',
      ...(this.#random.below(2) === 0 ? [rewritten(token, 20)] : this.#transfer(token)),
    ];
  }

  #setting(): string {
    const random = this.#random;
    switch (random.below(5)) {
      case 0:
        return `PRAGMA synchronous=${random.pick(SYNCHRONOUS)}`;
      case 1:
        return `PRAGMA wal_autocheckpoint=${random.pick([0, 1, 10, 100, 1000, 10_000])}`;
      case 2:
        return `PRAGMA cache_size=${10 + random.below(60)}`;
      case 3:
        return `PRAGMA mmap_size=${random.pick([0, 100_000, 2 ** 24])}`;
      default:
        return `PRAGMA journal_size_limit=${random.pick([-1, 0, 20_000, 200_000])}`;
    }
  }

  async #switchMode(): Promise<SqlResult> {
    const durable = MODES.filter((mode) => mode !== 'off' && mode !== 'memory');
    const wanted = this.#random.pick(this.#isAlone ? MODES : durable);
    const result = await this.#run([`PRAGMA journal_mode=${wanted}`]);
    await this.#mode();
    return result;
  }

  /** Only a -wal stands in the way of it. */
  async #otherPages(): Promise<SqlResult> {
    const before = await this.#mode();
    const left = await this.#run(['PRAGMA journal_mode=delete']);
    if (!left.ok || before === '') return left;
    const size = this.#random.pick(SWITCHED_PAGE_SIZES);
    const made = await this.#run([`PRAGMA page_size=${size}`, 'VACUUM']);
    await this.#run([`PRAGMA journal_mode=${before}`]);
    return made;
  }

  /** Is killed, from within at a certain call or from without at any time, and comes back. */
  async #actAndDie(): Promise<void> {
    const { ledger } = this.#parts;
    const mode = await this.#mode();
    if (mode === 'memory' || mode === 'off' || mode === '') {
      await this.#act('transfer');
      return;
    }
    const driver = this.#driver as SqlDriver;
    if (this.#random.below(4) > 0) await driver.die(this.#fate(mode));
    const deed = this.#random.pick([
      'transfer',
      'bulk',
      'bulk',
      'savepoint',
      'ballast',
      'checkpoint',
      'vacuum',
    ] as const);
    const act = this.#act(deed);
    await Promise.race([act, this.#rest(this.#random.below(25))]);
    await driver.kill();
    await act;
    ledger.kills++;
    if (this.#random.below(2) === 0) await this.#rest(this.#random.below(40));
    await this.#open();
  }

  #fate(mode: string): Fate {
    const random = this.#random;
    const journal = mode === 'wal' ? '-wal' : '-journal';
    const calls = [
      'write',
      'write',
      'write',
      'sync',
      'truncate',
      'unlink',
      'lock',
      'unlock',
    ] as const;
    const call = random.pick(calls);
    const file =
      call === 'lock' || call === 'unlock'
        ? random.pick(['-shm', '.db'])
        : random.pick([journal, journal, '.db']);
    return {
      when: random.below(2) === 0 ? 'before' : 'after',
      call,
      count: 1 + random.below(random.pick([2, 12, 150])),
      file,
    };
  }
}
