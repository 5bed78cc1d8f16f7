/** A bank on a primary, for a test of what one certain order of events does to it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import type { TestContext } from 'node:test';
import { inSync, until } from '../cluster.ts';
import type { Pair } from '../replicated.ts';
import { SqlDriver, type SqlResult } from '../sql-driver.ts';
import { buildSqlites } from '../sqlite-builds.ts';
import { creation, HISTORY, recorded } from './bank.ts';
import { Inspector } from './inspector.ts';
import { Ledger } from './ledger.ts';

const CREATION_TIMES = 20;
const MX_FRAME_OFFSET = 16;
/** fsync, fdatasync, ftruncate: what takes no time unless it is held. */
const HELD_CALLS = process.arch === 'arm64' ? ['82', '83', '46'] : ['74', '75', '77'];

export interface SceneOptions {
  readonly name: string;
  readonly mode: string;
  /** Of every connection. */
  readonly synchronous: string;
}

/** The driver for Debian's SQLite; why it cannot be built, for the `skip` of tests. */
export async function debianDriver(): Promise<{ program: string; skip: string | false }> {
  const { programs, missing } = await buildSqlites(['debian']);
  const program = programs.get('debian');
  return { program: program ?? '', skip: program === undefined && `no driver: ${missing}` };
}

export class Scene {
  readonly ledger = new Ledger();
  readonly name: string;
  readonly file: string;
  readonly #pair: Pair;
  readonly #program: string;
  readonly #options: SceneOptions;
  readonly #drivers: SqlDriver[] = [];

  private constructor(pair: Pair, program: string, options: SceneOptions) {
    this.#pair = pair;
    this.#program = program;
    this.#options = options;
    this.name = options.name;
    this.file = pair.primary.file(options.name);
  }

  /** Makes the bank; all that is started for it ends with the test. */
  static async make(t: TestContext, pair: Pair, program: string, options: SceneOptions) {
    const scene = new Scene(pair, program, options);
    t.after(() => Promise.all(scene.#drivers.map((driver) => driver.kill())));
    const maker = await scene.connect();
    await maker.mustRun([`PRAGMA journal_mode=${options.mode}`, ...creation(CREATION_TIMES)]);
    await maker.end();
    await inSync(pair.primary, pair.replica, scene.name);
    return scene;
  }

  /** A process with a connection, with a small cache and no checkpoints of its own. */
  async connect(): Promise<SqlDriver> {
    const driver = new SqlDriver(this.#program);
    this.#drivers.push(driver);
    await driver.open(this.file);
    const { mode, synchronous } = this.#options;
    await driver.mustRun([
      `PRAGMA synchronous=${synchronous}`,
      'PRAGMA cache_size=10',
      'PRAGMA wal_autocheckpoint=0',
      'SELECT count(*) FROM sqlite_master',
    ]);
    if (mode !== 'wal') await driver.mustRun([`PRAGMA journal_mode=${mode}`]);
    return driver;
  }

  /** A transaction, for a driver's run(); `ended` is to be told of its result. `statements` of its number. */
  transaction(statements: (token: number) => readonly string[]) {
    const token = this.ledger.take();
    const { committed, refused, killed } = this.ledger;
    return {
      statements: ['BEGIN IMMEDIATE', ...statements(token), ...recorded(token), 'COMMIT'],
      ended: ({ ok }: SqlResult) => {
        (ok ? committed : ok === false ? refused : killed).add(token);
      },
    };
  }

  /** Runs a transaction by itself. */
  async commit(
    driver: SqlDriver,
    statements: (token: number) => readonly string[],
  ): Promise<SqlResult> {
    const transaction = this.transaction(statements);
    const result = await driver.run(transaction.statements);
    transaction.ended(result);
    return result;
  }

  /** The same, and it must succeed. */
  async mustCommit(driver: SqlDriver, statements: (token: number) => readonly string[]) {
    const result = await this.commit(driver, statements);
    assert(result.ok, JSON.stringify(result));
  }

  /** A transaction that is open, and will not be committed. */
  async begin(driver: SqlDriver, statements: (token: number) => readonly string[]): Promise<void> {
    const token = this.ledger.take();
    this.ledger.refused.add(token);
    await driver.mustRun(['BEGIN IMMEDIATE', ...statements(token), ...recorded(token)]);
  }

  /**
   * Begins something that the file system may hold back, and resolves when it is held, or done already. `done`: at its end.
   */
  async beginHeld(driver: SqlDriver, statements: readonly string[]) {
    let isDone = false;
    const done = driver.run(statements).finally(() => {
      isDone = true;
    });
    await until('it is held back', () => isDone || isInHeldCall(driver.pid));
    return { done };
  }

  /** A process is killed, and another has come in its place: what SQLite's recovery has not found is lost. */
  async recovered(driver: SqlDriver): Promise<void> {
    const [listed] = await driver.mustRun([HISTORY]);
    this.ledger.recovered(listed.split(',').map(Number), [...this.ledger.committed]);
  }

  /** The last committed frame of the -wal, as the wal-index has it. */
  lastFrame(): number {
    return fs.readFileSync(`${this.file}-shm`).readUInt32LE(MX_FRAME_OFFSET);
  }

  /** Has the engine of the primary look at what is there. */
  async look(): Promise<string> {
    return this.#pair.primary.position(this.name);
  }

  /** Asserts that both nodes and all states of the log are what SQLite has published. */
  async assertTrue(): Promise<void> {
    const inspector = new Inspector({ ...this.#pair, name: this.name, ledger: this.ledger });
    await inspector.compare('while it is open');
    await Promise.all(this.#drivers.map((driver) => driver.end()));
    await inspector.compare('when it is closed');
    inspector.judgeLog();
    assert.deepEqual(inspector.faults, []);
  }
}

function isInHeldCall(pid: number): boolean {
  const [call] = fs.readFileSync(`/proc/${pid}/syscall`, 'latin1').split(' ');
  const stack = fs.readFileSync(`/proc/${pid}/stack`, 'latin1');
  return HELD_CALLS.includes(call) && stack.includes('request_wait_answer');
}
