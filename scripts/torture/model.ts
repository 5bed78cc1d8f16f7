/**
 * The model (test/harness/model): the engine and real SQLites, one system call after the other, in an order that a seed says.
 * A round takes a few seconds; as many as there are processors run at once.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type ModelReport, runModelRound } from '../../test/harness/model/round.ts';
import { buildSqlites, SQLITE_NAMES, type SqliteName } from '../../test/harness/sqlite-builds.ts';
import { describePlan, planOf } from '../../test/harness/states/plan.ts';
import { endRound } from '../../test/harness/watchdog/watchdog.ts';

const USAGE = `usage: npm run torture -- model [options]

  --rounds N           how many (1000)
  --minutes N          begins no round after that time
  --seed N             of the first round; the others have the next ones (at random, or $LITEFS_LITE_SEED)
  --transactions N     of each writer in a round (20)
  --trace              says each step; with --rounds 1
  --limit SECONDS      after which a round has failed that has not ended, and is ended (60, and 3 for each transaction)
  --keep-going         does not end at the first round that fails`;
const SEED_MAX = 2 ** 30;
const LIMIT_S_MIN = 60;
const TRANSACTION_S_MAX = 3;

/** Of a round that was ended. */
const NOTHING: Omit<ModelReport, 'faults'> = {
  steps: 0,
  held: 0,
  commits: 0,
  states: 0,
  reads: 0,
  kills: 0,
  crashes: 0,
  lost: 0,
  wrecked: 0,
  comparisons: 0,
};

interface Told {
  readonly title: string;
  readonly report: ModelReport;
}

/** Whether all rounds were well. */
export async function model(args: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '1000' },
      minutes: { type: 'string' },
      seed: { type: 'string', default: process.env.LITEFS_LITE_SEED },
      transactions: { type: 'string', default: '20' },
      limit: { type: 'string' },
      trace: { type: 'boolean', default: false },
      'keep-going': { type: 'boolean', default: false },
      /** Of a process that another one has started: a round on its own, and what came of it as JSON. */
      one: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return true;
  }
  const first = Number(values.seed ?? Math.floor(Math.random() * SEED_MAX));
  const transactions = Number(values.transactions);
  if (values.one || values.trace) {
    const told = await round(first, transactions, values.trace);
    console.log(JSON.stringify(told));
    return told.report.faults.length === 0;
  }
  const usualLimit = LIMIT_S_MIN + transactions * TRANSACTION_S_MAX;
  const limitMs = Number(values.limit ?? usualLimit) * 1000;
  const startedMs = performance.now();
  const untilMs = values.minutes === undefined ? Infinity : Number(values.minutes) * 60_000;
  const reports: ModelReport[] = [];
  let [begun, failures] = [0, 0];
  const isOver = () =>
    begun >= Number(values.rounds) ||
    performance.now() - startedMs > untilMs ||
    (failures > 0 && !values['keep-going']);
  await buildSqlites(SQLITE_NAMES);
  await Promise.all(
    Array.from({ length: os.availableParallelism() }, async () => {
      while (!isOver()) {
        const { title, report } = await elsewhere(first + begun++, transactions, limitMs);
        reports.push(report);
        if (report.faults.length === 0) continue;
        failures++;
        console.log(`FAILED  ${title}`);
        for (const fault of report.faults) console.log(`        ${fault}`);
      }
    }),
  );
  console.log(`${failures} of ${reports.length} rounds failed. ${countsOf(reports)}.`);
  return failures === 0;
}

/** The counts in a line, for docs/reliability.md. */
function countsOf(reports: readonly ModelReport[]): string {
  const sum = (of: (report: ModelReport) => number) =>
    reports.reduce((all, one) => all + of(one), 0);
  return [
    `${sum(({ steps }) => steps)} steps`,
    `${sum(({ commits }) => commits)} commits`,
    `${sum(({ states }) => states)} states rebuilt`,
    `${sum(({ held }) => held)} operations held`,
    `${sum(({ reads }) => reads)} read transactions on replicas`,
    `${sum(({ kills }) => kills)} writers killed`,
    `${sum(({ crashes }) => crashes)} daemons`,
    `${sum(({ comparisons }) => comparisons)} comparisons of every page`,
    `${sum(({ lost }) => lost)} commits that SQLite itself lost`,
    `${sum(({ wrecked }) => wrecked)} databases that it destroyed`,
  ].join(', ');
}

async function round(seed: number, transactions: number, isTraced: boolean): Promise<Told> {
  const { programs } = await buildSqlites(SQLITE_NAMES);
  const sqlites = [...programs.keys()].sort() as SqliteName[];
  const plan = planOf(seed, { sqlites, transactions });
  const trace = isTraced ? (line: string) => console.log(line) : undefined;
  return { title: describePlan(plan), report: await runModelRound(plan, programs, trace) };
}

/** In a process of its own: it has the thread of the engine to itself. */
async function elsewhere(seed: number, transactions: number, limitMs: number): Promise<Told> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-torture-'));
  const child = spawn(
    process.execPath,
    [process.argv[1], 'model', '--one', '--seed', `${seed}`, '--transactions', `${transactions}`],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, TMPDIR: dir } },
  );
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  let isStuck = false;
  const timer = setTimeout(() => {
    isStuck = true;
    console.log(endRound({ title: `seed ${seed}`, limitMs }, child.pid as number));
    child.kill('SIGKILL');
  }, limitMs);
  await once(child, 'close');
  clearTimeout(timer);
  // Of a round that was killed there is something in it.
  fs.rmSync(dir, { recursive: true, force: true });
  if (isStuck) {
    const faults = [`it has not ended within ${limitMs / 1000} s`];
    return { title: `seed ${seed}`, report: { ...NOTHING, faults } };
  }
  const text = Buffer.concat(chunks).toString().trim();
  if (text === '') throw new Error(`the round of seed ${seed} has ended without an answer`);
  return JSON.parse(text) as Told;
}
