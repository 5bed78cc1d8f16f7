/**
 * `npm run torture -- power`: the power goes, hundreds of times. Each life is a primary and a replica on ext4 on disks of
 * which every write and flush is recorded, under an application that writes in all journal modes, with clean stops and kill
 * -9 in between. Then it is cut off at random moments: what was not flushed is lost, torn or reordered, and nodes start on
 * what is left, in all roles (test/harness/power/).
 *
 * Needs root, /dev/fuse, loop devices and mkfs.ext4. The nodes are the executable, as it is shipped, made first.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { FINDINGS, type FindingKind } from '../../test/harness/power/checks.ts';
import { keepExample, replayExample } from '../../test/harness/power/examples.ts';
import { type CutReport, noCounts, powerRound } from '../../test/harness/power/rounds.ts';
import { sweepAll } from '../../test/harness/power/scratch.ts';
import { SeededRandom } from '../../test/harness/random.ts';
import { RoundTimeout, withLimit } from '../../test/harness/watchdog/watchdog.ts';
import { makeShipped } from '../build/shipped.ts';

const USAGE = `usage: npm run torture -- power [options]

  --cuts N      how often the power goes, in all (500)
  --minutes N   begins no cluster after that time
  --per-life N  how often in each life (12); a cluster has two, one after another
  --events N    what happens to the nodes in each life (8)
  --limit SECONDS  after which a cluster has failed that has not ended, and is ended (by its cuts and events)
  --keep DIR    keeps disks, logs and findings of the first failures of each kind there
  --replay DIR  starts nodes on the disks of one that was kept

LITEFS_LITE_SEED repeats the choices of a run; each life prints its own seed.`;

/** So many examples of each kind of failure are kept. */
const KEPT_MAX = 3;
/** Of what is printed of a failure: characters, and lines of the nodes' logs. */
const DETAIL_MAX = 500;
const LINES_MAX = 12;
/** Some ten times what they take. */
const EVENT_S_MAX = 30;
const CUT_S_MAX = 60;
const LIVES = 2;
const ROOT = path.resolve(import.meta.dirname, '../..');

export async function power(args: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args,
    options: {
      cuts: { type: 'string', default: '500' },
      minutes: { type: 'string', default: 'Infinity' },
      'per-life': { type: 'string', default: '12' },
      events: { type: 'string', default: '8' },
      limit: { type: 'string' },
      keep: { type: 'string' },
      replay: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return true;
  }
  process.env.LITEFS_LITE_EXECUTABLE ??= makeShipped(ROOT);
  if (values.replay !== undefined) return replay(values.replay);
  const random = new SeededRandom();
  const run = new Run(values.keep);
  let isInterrupted = false;
  process.on('SIGINT', () => {
    if (isInterrupted) process.exit(130);
    console.log('ending after this cluster; once more to end at once');
    isInterrupted = true;
  });
  const untilMs = performance.now() + Number(values.minutes) * 60_000;
  const isEnough = () => run.counts.cuts >= Number(values.cuts) || performance.now() > untilMs;
  while (!isEnough() && !isInterrupted) {
    // The first cluster has the seed that was asked for.
    const seed = run.clusters++ === 0 ? random.seed : random.below(0x7fffffff);
    console.log(`cluster ${run.clusters}, seed ${seed}, after ${run.counts.cuts} cuts`);
    const told = (report: CutReport) => run.told(seed, report);
    const [events, cuts] = [Number(values.events), Number(values['per-life'])];
    try {
      const usualLimit = LIVES * (events * EVENT_S_MAX + cuts * CUT_S_MAX);
      const limitMs = Number(values.limit ?? usualLimit) * 1000;
      await withLimit({ title: `seed ${seed}`, limitMs }, () =>
        powerRound({ seed, events, cuts, told }, run.counts),
      );
    } catch (error) {
      // Of one that was ended, what it cannot take away itself.
      if (error instanceof RoundTimeout) sweepAll();
      run.failed(seed, error as Error);
    }
  }
  run.print();
  return run.isClean;
}

class Run {
  readonly counts = noCounts();
  clusters = 0;
  #failures = 0;
  readonly #keep: string | undefined;
  /** Findings, and the cuts that had any, by kind. */
  readonly #found = new Map<FindingKind, { findings: number; cuts: number; where: Set<string> }>();
  readonly #scenarios = new Map<string, { cuts: number; bad: number }>();

  constructor(keep: string | undefined) {
    this.#keep = keep;
  }

  get isClean(): boolean {
    return this.#found.size === 0 && this.#failures === 0;
  }

  /** A life that could not be lived to its end. */
  failed(seed: number, error: Error): void {
    console.log(`  seed ${seed}: ${error.stack}`);
    this.#failures++;
  }

  told(seed: number, report: CutReport): void {
    const { scenario, crash, findings, log } = report;
    const of = this.#scenarios.get(scenario) ?? { cuts: 0, bad: 0 };
    this.#scenarios.set(scenario, of);
    of.cuts++;
    if (findings.length === 0) return;
    of.bad++;
    console.log(`  seed ${seed}, ${scenario}, ${JSON.stringify(crash.cut)}`);
    for (const { kind, database, detail } of findings) {
      console.log(`    ${kind} ${database}: ${detail.slice(0, DETAIL_MAX)}`);
    }
    const names = new Set(findings.map(({ database }) => database));
    const lines = log
      .split('\n')
      .filter((line) => [...names].some((name) => name !== '' && line.includes(name)));
    for (const line of lines.slice(0, LINES_MAX)) console.log(`      ${line.trim()}`);
    for (const kind of new Set(findings.map((finding) => finding.kind))) {
      const found = this.#found.get(kind) ?? { findings: 0, cuts: 0, where: new Set() };
      this.#found.set(kind, found);
      found.cuts++;
      found.findings += findings.filter((finding) => finding.kind === kind).length;
      found.where.add(scenario);
      if (this.#keep !== undefined && found.cuts <= KEPT_MAX) {
        keepExample(path.join(this.#keep, `${kind}-${found.cuts}`), seed, report);
      }
    }
  }

  print(): void {
    const { lives, commits, records, cuts, images, soundAlone, unsoundAlone } = this.counts;
    const { reused, older } = this.counts;
    console.log(`
${lives} lives with ${commits} commits and ${records} writes and flushes; ${cuts} power cuts, ${images} disks.
Of the databases on them SQLite alone finds ${soundAlone} sound and ${unsoundAlone} not.
${reused} databases came back at a TXID that had had other content, ${older} of former replicas in an older state.`);
    for (const [scenario, { cuts: of, bad }] of this.#scenarios) {
      console.log(`  ${scenario.padEnd(24)} ${of} cuts, ${bad} with findings`);
    }
    if (this.#failures > 0) console.log(`${this.#failures} clusters did not live to their end.`);
    if (this.isClean) console.log('Nothing was found.');
    for (const [kind, { findings, cuts: of, where }] of this.#found) {
      console.log(
        `  ${kind.padEnd(14)} ${findings} in ${of} cuts: ${FINDINGS[kind]} (${[...where].join(', ')})`,
      );
    }
  }
}

async function replay(dir: string): Promise<boolean> {
  const { findings, log } = await replayExample(dir);
  console.log(log);
  for (const { kind, database, detail } of findings) console.log(`${kind} ${database}: ${detail}`);
  return findings.length === 0;
}
