/** A round of the model: the writers of the state check, step by step, and then every state that the log holds. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { formatPosition } from '../../../src/ltx/position.ts';
import { SeededRandom } from '../random.ts';
import type { SqliteName } from '../sqlite-builds.ts';
import { creation, HISTORY } from '../states/bank.ts';
import { Ledger } from '../states/ledger.ts';
import type { RoundPlan } from '../states/plan.ts';
import { type Claim, imageOf, judgeLog, type View, wreckOf } from '../states/verdict.ts';
import { Writer } from '../states/writer.ts';
import { Model } from './model.ts';

const CREATION_TIMES_MAX = 20;
/** Between two questions whether all is captured. */
const FLUSH_EACH_MS = 40;
const FAULTS_MAX = 5;

export interface ModelReport {
  readonly steps: number;
  readonly held: number;
  readonly commits: number;
  readonly states: number;
  readonly kills: number;
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
  const random = new SeededRandom(plan.seed * 7 + 1);
  const model = new Model({ dir, random, trace });
  try {
    return await new Round(plan, programs, model, dir).run();
  } finally {
    await model.kill();
    fs.rmSync(dir, { recursive: true });
  }
}

class Round {
  readonly #plan: RoundPlan;
  readonly #programs: ReadonlyMap<SqliteName, string>;
  readonly #model: Model;
  readonly #dir: string;
  readonly #name: string;
  readonly #ledger = new Ledger();
  readonly #claims: Claim[] = [];
  readonly #faults: string[] = [];
  readonly #said: string[] = [];
  #views: View[] = [];

  constructor(
    plan: RoundPlan,
    programs: ReadonlyMap<SqliteName, string>,
    model: Model,
    dir: string,
  ) {
    this.#plan = plan;
    this.#programs = programs;
    this.#model = model;
    this.#dir = dir;
    this.#name = `m${plan.seed}.db`;
  }

  async run(): Promise<ModelReport> {
    let states = 0;
    try {
      await this.#model.start();
      await this.#model.run(this.#live());
      await this.#view();
      this.#judgeNode();
      if (this.#plan.restart !== 'none') {
        await this.#model.restart(this.#plan.restart);
        await this.#view();
        this.#judgeNode();
      }
      const log = path.join(this.#dir, 'ltx', this.#name);
      const published = this.#views.at(-1)?.published ?? '';
      const judged = judgeLog(log, this.#ledger, published, this.#views, this.#claims);
      states = judged.states;
      this.#faults.push(...judged.faults.slice(0, FAULTS_MAX));
    } catch (error) {
      this.#faults.push((error as Error).message);
    }
    const { committed, kills, lost, isWrecked, faults } = this.#ledger;
    const all = [...faults, ...this.#faults];
    return {
      ...this.#model.counts,
      commits: committed.size,
      states,
      kills,
      lost: lost.size,
      wrecked: isWrecked ? 1 : 0,
      comparisons: this.#said.filter((text) => /^compared every page/.test(text)).length,
      faults: all.length > 0 ? [...all, ...this.#said] : all,
    };
  }

  async #live(): Promise<void> {
    const maker = this.#model.drive(this.#program(this.#plan.sqlites[0]), this.#name);
    const { pageSize, autoVacuum, mode, synchronous } = this.#plan;
    await maker.open(this.#model.file(this.#name));
    await maker.mustRun([
      `PRAGMA page_size=${pageSize}`,
      `PRAGMA auto_vacuum=${autoVacuum}`,
      `PRAGMA journal_mode=${mode}`,
      `PRAGMA synchronous=${synchronous}`,
      ...creation(Math.min(CREATION_TIMES_MAX, pageSize / 32)),
    ]);
    await maker.end();
    const writers = this.#plan.sqlites.map(
      (sqlite, index) =>
        new Writer({
          plan: this.#plan,
          ledger: this.#ledger,
          file: this.#model.file(this.#name),
          program: this.#program(sqlite),
          index,
          drive: (program) => this.#model.drive(program, this.#name),
          rest: (ms) => this.#model.rest(ms),
        }),
    );
    let isOver = false;
    const work = Promise.all(writers.map((writer) => writer.run())).finally(() => {
      isOver = true;
    });
    const asking = this.#ask(() => isOver);
    await work;
    await asking;
    await Promise.all(writers.map((writer) => writer.settle()));
    await Promise.all(writers.map((writer) => writer.end()));
  }

  /** Asks over and over whether all is captured, and takes down what was committed when it was asked. */
  async #ask(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await this.#model.rest(FLUSH_EACH_MS);
      const committed = [...this.#ledger.committed];
      const { stand } = this.#model;
      const left = await stand.answer('flush', {});
      const db = stand.engine.registry.get(this.#name);
      if (db && left.length === 0) this.#claims.push({ txid: db.position.txid, committed });
    }
  }

  /** What SQLite sees when nobody has it open, and where the engine is. */
  async #view(): Promise<void> {
    const left = await this.#model.stand.call('flush', {});
    for (const { reason } of left) this.#faults.push(`cannot be captured in the end: ${reason}`);
    const copies = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-model-view-'));
    try {
      const copy = path.join(copies, 'copy.db');
      const file = this.#model.file(this.#name);
      const hadWal = fs.existsSync(`${file}-wal`);
      for (const end of ['', '-wal', '-journal']) {
        if (fs.existsSync(file + end)) fs.copyFileSync(file + end, copy + end);
      }
      const position = formatPosition(this.#model.stand.database(this.#name).position);
      if (this.#ledger.isWrecked) {
        this.#views.push({ position, image: wreckOf(file), published: '' });
        return;
      }
      const image = imageOf(copy, { readonly: false });
      const db = new Sqlite(copy);
      const published = db.prepare(HISTORY).pluck().get() as string;
      db.close();
      this.#views.push({ position, image, published });
      const listed = new Set(published.split(',').map(Number));
      const gone = [...this.#ledger.committed].filter((token) => !listed.has(token));
      // Two that close at once leave the -wal, and SQLite before 3.51 some of its frames without checksums (ledger.ts).
      const mayLose = hadWal && this.#plan.sqlites.some((name) => name !== 'newest');
      for (const token of gone) {
        if (mayLose) this.#ledger.lost.add(token);
        else if (!this.#ledger.lost.has(token)) this.#faults.push(`lacks ${token}, a commit`);
      }
    } finally {
      fs.rmSync(copies, { recursive: true });
    }
  }

  /** What the engine has said, for whoever looks for the reason of a fault. */
  #judgeNode(): void {
    for (const news of this.#model.stand.news) {
      if (news.kind === 'log') this.#said.push(news.message);
    }
    const db = this.#model.stand.database(this.#name);
    if (db.status.state !== 'ok') this.#faults.push(`it is ${JSON.stringify(db.status)}`);
  }

  #program(name: SqliteName): string {
    return this.#programs.get(name) ?? ([...this.#programs.values()][0] as string);
  }
}
