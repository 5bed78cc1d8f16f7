/**
 * The state check: many rounds, each of another seed, on nodes with FUSE passthrough and without. See round.ts for what
 * must be true of each.
 */
import { type Passthrough, startCluster, type TestNode } from '../cluster.ts';
import { buildSqlites, type SqliteName } from '../sqlite-builds.ts';
import { RoundTimeout, withLimit } from '../watchdog/watchdog.ts';
import { describePlan, planOf, type RoundPlan } from './plan.ts';
import { type RoundReport, runRound } from './round.ts';

/** New nodes after so many: a database that went wrong is not to be in the way of the others for ever. */
const ROUNDS_A_CLUSTER = 20;
/** Every state of a round is read back in the end: nothing may be merged or trimmed before. */
const CONFIG = {
  data: { retention: '24h', 'retention-bytes': '0', 'retention-monitor-interval': '24h' },
};

const LIMIT_MS_MIN = 120_000;
const TRANSACTION_MS_MAX = 1000;
const NOTHING = {
  commits: 0,
  states: 0,
  reads: 0,
  busy: 0,
  kills: 0,
  pauses: 0,
  lost: 0,
  wrecked: 0,
  delays: 0,
  comparisons: 0,
};

export interface CheckOptions {
  readonly rounds: number;
  readonly sqlites: readonly SqliteName[];
  /** Of the first round; each further one has the next that `isWanted` agrees to. */
  readonly seed: number;
  /** Asked of the plan in words. */
  readonly isWanted?: (plan: string) => boolean;
  /** Of each writer of a round. */
  readonly transactions: number;
  readonly readers: number;
  /** Of the nodes, in turn. */
  readonly passthroughs: readonly Passthrough[];
  /** Whether readers of the replica may meet no SQLITE_BUSY, in any journal mode. */
  readonly isBusyFault: boolean;
  /** After which a round does not end any more, ms: it has failed, and new nodes go on. Default: by its plan. */
  readonly limitMs?: number;
  /** Told of the nodes of each round when it begins. */
  readonly onBegin?: (nodes: { primary: TestNode; replica: TestNode }) => void;
  /** Told where everything was stuck in a round that had no end. Default: standard error. */
  readonly onStuck?: (report: string) => void;
  /** Stops beginning rounds when it returns true. */
  readonly isEnough?: () => boolean;
  /** Told of each round. */
  readonly onRound?: (title: string, report: RoundReport, ms: number) => void;
}

export interface CheckSummary extends Omit<RoundReport, 'faults'> {
  readonly rounds: number;
  /** With the plan of the round before each. */
  readonly faults: readonly string[];
  /** SQLites that could not be built, and why. */
  readonly missing: readonly string[];
}

export async function checkStates(options: CheckOptions): Promise<CheckSummary> {
  const { programs, missing } = await buildSqlites(options.sqlites);
  const reports: RoundReport[] = [];
  const faults: string[] = [];
  if (programs.size === 0) return summary(reports, faults, missing);
  const { passthroughs, transactions } = options;
  const choices = { sqlites: [...programs.keys()].sort() as SqliteName[], transactions };
  let { seed } = options;
  const nextPlan = () => {
    for (;;) {
      const plan = planOf(seed++, choices);
      if (options.isWanted?.(describePlan(plan)) !== false) return plan;
    }
  };
  const roundsEach = Math.ceil(options.rounds / passthroughs.length);
  const isDone = () => reports.length >= options.rounds || options.isEnough?.() === true;
  for (let clusters = 0; !isDone(); clusters++) {
    const passthrough = passthroughs[clusters % passthroughs.length];
    const { cluster, primary, replica } = await startCluster(passthrough, { config: CONFIG });
    try {
      for (let i = 0; i < Math.min(roundsEach, ROUNDS_A_CLUSTER) && !isDone(); i++) {
        const plan = nextPlan();
        const title = `${describePlan(plan)}, passthrough ${passthrough}`;
        const startedMs = performance.now();
        const { readers, isBusyFault } = options;
        options.onBegin?.({ primary, replica });
        const { limitMs = usualLimitMs(plan), onStuck: told } = options;
        const report: RoundReport & { isEndless?: boolean } = await withLimit(
          { title, limitMs, dir: cluster.dir, told },
          () => runRound({ plan, primary, replica, programs, readers, isBusyFault }),
        ).catch(withoutEnd);
        reports.push(report);
        faults.push(...report.faults.map((fault) => `[${title}] ${fault}`));
        options.onRound?.(title, report, performance.now() - startedMs);
        if (report.isEndless) break;
      }
    } finally {
      await cluster.close();
    }
  }
  return summary(reports, faults, missing);
}

/** Some ten times what a round takes on a machine that has other things to do. */
function usualLimitMs({ transactions, sqlites }: RoundPlan): number {
  return LIMIT_MS_MIN + transactions * sqlites.length * TRANSACTION_MS_MAX;
}

/** What is said of a round that had no end, and has been ended. */
function withoutEnd(error: unknown): RoundReport & { isEndless?: boolean } {
  if (!(error instanceof RoundTimeout)) throw error;
  return { ...NOTHING, faults: [error.message], isEndless: true };
}

function summary(
  reports: readonly RoundReport[],
  faults: readonly string[],
  missing: readonly string[],
): CheckSummary {
  const sum = (of: (report: RoundReport) => number) =>
    reports.reduce((all, one) => all + of(one), 0);
  return {
    rounds: reports.length,
    commits: sum(({ commits }) => commits),
    states: sum(({ states }) => states),
    reads: sum(({ reads }) => reads),
    busy: sum(({ busy }) => busy),
    kills: sum(({ kills }) => kills),
    pauses: sum(({ pauses }) => pauses),
    lost: sum(({ lost }) => lost),
    wrecked: sum(({ wrecked }) => wrecked),
    delays: sum(({ delays }) => delays),
    comparisons: sum(({ comparisons }) => comparisons),
    faults,
    missing,
  };
}

/** The counts in a line, for docs/reliability.md. */
export function countsOf(summary: CheckSummary): string {
  const { rounds, commits, states, reads, busy, kills, pauses } = summary;
  const { lost, wrecked, delays, comparisons } = summary;
  return [
    `${rounds} rounds`,
    `${commits} commits`,
    `${states} states rebuilt`,
    `${kills} writers killed`,
    `${pauses} pauses of the engine`,
    `${reads} read transactions on the replica, SQLITE_BUSY in ${busy}`,
    `${comparisons} comparisons of every page`,
    `${lost} commits that SQLite itself lost with a kill`,
    `${wrecked} databases that it destroyed`,
    `${delays} warnings about databases without a journal`,
  ].join(', ');
}
