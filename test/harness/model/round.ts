/**
 * A round of the model: the writers of the state check on a primary, step by step, and readers on a replica that gets what is
 * captured. Then every state that the log holds.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import type { EngineNews, WireEntry } from '../../../src/engine/protocol.ts';
import { errorText } from '../../../src/errors.ts';
import { formatPosition } from '../../../src/ltx/position.ts';
import { databaseImage } from '../image.ts';
import { SeededRandom } from '../random.ts';
import type { SqliteName } from '../sqlite-builds.ts';
import { CHECK, creation, HISTORY } from '../states/bank.ts';
import { Ledger } from '../states/ledger.ts';
import type { RoundPlan } from '../states/plan.ts';
import {
  type Claim,
  difference,
  imageOf,
  judgeLog,
  type View,
  wreckOf,
} from '../states/verdict.ts';
import { Writer } from '../states/writer.ts';
import { Model } from './model.ts';

const CREATION_TIMES_MAX = 20;
/** Between two questions whether all is captured. */
const FLUSH_EACH_MS = 40;
/** The most that something is on its way to the replica, and that lies between two reads there. */
const DELIVERY_MS_MAX = 10;
const READ_EACH_MS_MAX = 15;
const INTEGRITY_EACH = 5;
const CRASHES_MAX = 2;
const CRASH_MS_MAX = 400;
const FAULTS_MAX = 5;

export interface ModelReport {
  readonly steps: number;
  readonly held: number;
  readonly commits: number;
  readonly states: number;
  /** Read transactions on the replica. */
  readonly reads: number;
  readonly kills: number;
  /** Of the daemon of the primary. */
  readonly crashes: number;
  readonly lost: number;
  readonly wrecked: number;
  readonly comparisons: number;
  readonly faults: readonly string[];
}

/** One of a plan. `trace`: told what happens, in order, a line each. */
export async function runModelRound(
  plan: RoundPlan,
  programs: ReadonlyMap<SqliteName, string>,
  trace: (line: string) => void = () => {},
): Promise<ModelReport> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-model-'));
  const round = new Round(plan, programs, dir, trace);
  try {
    return await round.run();
  } finally {
    await round.close();
    fs.rmSync(dir, { recursive: true });
  }
}

class Round {
  readonly #plan: RoundPlan;
  readonly #programs: ReadonlyMap<SqliteName, string>;
  readonly #trace: (line: string) => void;
  readonly #dir: string;
  readonly #model: Model;
  readonly #random: SeededRandom;
  readonly #name: string;
  readonly #ledger = new Ledger();
  readonly #claims: Claim[] = [];
  readonly #faults: string[] = [];
  readonly #said: string[] = [];
  readonly #views: View[] = [];
  /** What the replica is to get, oldest first. */
  readonly #onItsWay: WireEntry[] = [];
  #isOver = false;
  #reads = 0;
  #crashes = 0;

  constructor(
    plan: RoundPlan,
    programs: ReadonlyMap<SqliteName, string>,
    dir: string,
    trace: (line: string) => void,
  ) {
    this.#plan = plan;
    this.#programs = programs;
    this.#trace = trace;
    this.#dir = dir;
    this.#name = `m${plan.seed}.db`;
    this.#random = new SeededRandom(plan.seed * 11 + 5);
    this.#model = new Model({
      dir,
      random: new SeededRandom(plan.seed * 7 + 1),
      trace,
      news: (role, news) => this.#told(role, news),
    });
  }

  async run(): Promise<ModelReport> {
    const { primary, replica } = this.#model;
    let states = 0;
    try {
      await this.#model.run(Promise.all([primary.start(), replica.start()]));
      await this.#model.run(this.#live());
      await this.#model.run(this.#view());
      if (this.#plan.restart !== 'none' && !this.#ledger.isWrecked) {
        const isStop = this.#plan.restart === 'stop';
        await this.#model.run(isStop ? primary.restart() : primary.crash());
        await this.#model.run(this.#view());
      }
      const log = path.join(this.#dir, 'primary/ltx', this.#name);
      const published = this.#views.at(-1)?.published ?? '';
      const judged = judgeLog(log, this.#ledger, published, this.#views, this.#claims);
      states = judged.states;
      this.#faults.push(...judged.faults.slice(0, FAULTS_MAX));
    } catch (error) {
      this.#faults.push(errorText(error));
    }
    const { committed, kills, lost, isWrecked, faults } = this.#ledger;
    const all = [...faults, ...this.#faults];
    return {
      steps: this.#model.steps,
      held: primary.held + replica.held,
      commits: committed.size,
      states,
      reads: this.#reads,
      kills,
      crashes: this.#crashes,
      lost: lost.size,
      wrecked: isWrecked ? 1 : 0,
      comparisons: this.#said.filter((text) => text.includes('compared every page')).length,
      faults: all.length > 0 ? [...all, ...this.#said] : all,
    };
  }

  close(): Promise<void> {
    return this.#model.close();
  }

  #told(role: 'primary' | 'replica', news: EngineNews): void {
    if (news.kind === 'log') this.#said.push(`${role}: ${news.message}`);
    if (news.kind === 'entry' && role === 'primary') this.#onItsWay.push(news.entry);
  }

  async #live(): Promise<void> {
    const { primary } = this.#model;
    const maker = primary.drive(this.#program(this.#plan.sqlites[0]), this.#name);
    const { pageSize, autoVacuum, mode, synchronous } = this.#plan;
    await maker.open(primary.file(this.#name));
    await maker.mustRun([
      `PRAGMA page_size=${pageSize}`,
      `PRAGMA auto_vacuum=${autoVacuum}`,
      `PRAGMA journal_mode=${mode}`,
      `PRAGMA synchronous=${synchronous}`,
      ...creation(Math.min(CREATION_TIMES_MAX, pageSize / 32)),
    ]);
    await maker.end();
    await primary.stand.answer('flush', {});
    await this.#deliverAll();
    const writers = this.#plan.sqlites.map(
      (sqlite, index) =>
        new Writer({
          plan: this.#plan,
          ledger: this.#ledger,
          file: primary.file(this.#name),
          program: this.#program(sqlite),
          index,
          drive: (program) => primary.drive(program, this.#name),
          rest: (ms) => this.#model.rest(ms),
        }),
    );
    const beside = [this.#ask(), this.#deliver(), this.#read(), this.#crashNowAndThen()];
    await Promise.all(writers.map((writer) => writer.run())).finally(() => {
      this.#isOver = true;
    });
    await Promise.all(beside);
    await Promise.all(writers.map((writer) => writer.settle()));
    await Promise.all(writers.map((writer) => writer.end()));
  }

  /** Asks over and over whether all is captured, and takes down what was committed when it was asked. */
  async #ask(): Promise<void> {
    const { primary } = this.#model;
    while (!this.#isOver) {
      await this.#model.rest(FLUSH_EACH_MS);
      if (!primary.isUp) continue;
      const committed = [...this.#ledger.committed];
      const { stand } = primary;
      const crashes = this.#crashes;
      const answer = stand.answer('flush', {}).then((left) => {
        const db = stand.engine.registry.get(this.#name);
        if (!db || left.length > 0 || crashes !== this.#crashes) return;
        this.#claims.push({ txid: db.position.txid, committed });
      });
      // That of an engine that is killed does not come.
      await Promise.race([answer, this.#untilCrash(crashes)]);
    }
  }

  async #untilCrash(crashes: number): Promise<void> {
    while (crashes === this.#crashes && !this.#isOver) await this.#model.rest(FLUSH_EACH_MS);
  }

  async #deliver(): Promise<void> {
    while (!this.#isOver) {
      await this.#model.rest(this.#random.below(DELIVERY_MS_MAX));
      await this.#deliverAll();
    }
  }

  async #deliverAll(): Promise<void> {
    for (let entry = this.#onItsWay.shift(); entry; entry = this.#onItsWay.shift()) {
      const source = { bytes: bytesOf(entry) };
      await this.#model.replica.stand.answer('apply', { database: this.#name, source });
    }
  }

  /** A connection on the replica, which opens the database anew now and then: what it sees must be whole, and never older. */
  async #read(): Promise<void> {
    const { replica } = this.#model;
    // Not 3.7.8, which cannot read a -wal with smaller pages than its file has (docs/sqlite-quirks.md).
    const names = ['newest', 'debian'] as const;
    let newest = 0;
    while (!this.#isOver) {
      const reader = replica.drive(this.#program(this.#random.pick(names)), this.#name);
      await reader.open(replica.file(this.#name), { readonly: this.#random.below(2) === 0 });
      for (let i = 0; i < 6 && !this.#isOver; i++) {
        await this.#model.rest(this.#random.below(READ_EACH_MS_MAX));
        const isChecked = this.#random.below(INTEGRITY_EACH) === 0;
        const check = isChecked ? ['PRAGMA integrity_check(3)'] : [];
        const query = CHECK.replaceAll(/\s+/g, ' ');
        const result = await reader.run(['BEGIN', query, query, ...check, 'COMMIT']);
        this.#reads++;
        this.#trace(`replica ${reader.pid} has read ${JSON.stringify(result)}`);
        if (!result.ok) {
          this.#faults.push(`a reader of the replica: ${JSON.stringify(result)}`);
          continue;
        }
        const [first, second, integrity = 'ok'] = result.rows;
        const number = Number(/^ok (\d+)$/.exec(first)?.[1] ?? -1);
        const isOlder = number < newest && this.#ledger.lost.size === 0;
        if (this.#ledger.isWrecked) continue;
        if (first !== second || integrity !== 'ok' || isOlder) {
          this.#faults.push(`a reader of the replica saw ${result.rows}, after ${newest}`);
        }
        newest = Math.max(newest, number);
      }
      await reader.end();
    }
  }

  /** The daemon of the primary is killed, with all that has its mount open. */
  async #crashNowAndThen(): Promise<void> {
    // Without a journal a transaction that ends so is the end of the database.
    const isJournalless = () => this.#plan.mode === 'memory' || this.#ledger.isJournalless;
    if (this.#random.below(3) > 0 || this.#plan.mode === 'off') return;
    for (let i = 0; i < CRASHES_MAX && !this.#isOver; i++) {
      await this.#model.rest(this.#random.below(CRASH_MS_MAX));
      if (this.#isOver || isJournalless()) return;
      this.#crashes++;
      this.#ledger.kills++;
      await this.#model.primary.crash();
    }
  }

  /** What SQLite sees when nobody has it open, and where both engines are. */
  async #view(): Promise<void> {
    const { primary, replica } = this.#model;
    const left = await primary.stand.answer('flush', {});
    for (const { reason } of left) this.#faults.push(`cannot be captured in the end: ${reason}`);
    await this.#deliverAll();
    const copies = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-model-view-'));
    try {
      const view = this.#look(copies);
      this.#views.push(view);
      const copied = replica.file(this.#name);
      const theirs = this.#ledger.isWrecked ? wreckOf(copied) : databaseImage(copied);
      const differs = difference(view.image, theirs);
      if (differs !== undefined) this.#faults.push(`the replica is not the primary: ${differs}`);
    } finally {
      fs.rmSync(copies, { recursive: true });
    }
    for (const { stand } of [primary, replica]) {
      const { status } = stand.database(this.#name);
      if (status.state !== 'ok') this.#faults.push(`it is ${JSON.stringify(status)}`);
    }
  }

  #look(copies: string): View {
    const { primary } = this.#model;
    const copy = path.join(copies, 'copy.db');
    const file = primary.file(this.#name);
    const hadWal = fs.existsSync(`${file}-wal`);
    for (const end of ['', '-wal', '-journal']) {
      if (fs.existsSync(file + end)) fs.copyFileSync(file + end, copy + end);
    }
    const position = formatPosition(primary.stand.database(this.#name).position);
    // Two that close at once leave the -wal, and SQLite before 3.51 some of its frames without checksums (ledger.ts).
    const mayLose = hadWal && this.#plan.sqlites.some((name) => name !== 'newest');
    if (mayLose) this.#ledger.isWrecked ||= isMalformed(copy);
    if (this.#ledger.isWrecked) return { position, image: wreckOf(file), published: '' };
    const image = imageOf(copy, { readonly: false });
    const published = withDatabase(copy, (db) => db.prepare(HISTORY).pluck().get() as string);
    const listed = new Set(published.split(',').map(Number));
    const gone = [...this.#ledger.committed].filter((token) => !listed.has(token));
    for (const token of gone) {
      if (mayLose) this.#ledger.lost.add(token);
      else if (!this.#ledger.lost.has(token)) this.#faults.push(`lacks ${token}, a commit`);
    }
    return { position, image, published };
  }

  #program(name: SqliteName): string {
    return this.#programs.get(name) ?? ([...this.#programs.values()][0] as string);
  }
}

function withDatabase<T>(file: string, use: (db: Sqlite.Database) => T): T {
  const db = new Sqlite(file);
  try {
    return use(db);
  } finally {
    db.close();
  }
}

function isMalformed(file: string): boolean {
  try {
    return withDatabase(file, (db) => db.pragma('integrity_check(1)', { simple: true }) !== 'ok');
  } catch (error) {
    if ((error as { code?: string }).code?.startsWith('SQLITE_CORRUPT')) return true;
    throw error;
  }
}

/** What the link carries. */
function bytesOf({ source }: WireEntry): Uint8Array {
  if ('bytes' in source) return new Uint8Array(source.bytes);
  return fs.readFileSync(source.path).subarray(source.offset, source.offset + source.length);
}
