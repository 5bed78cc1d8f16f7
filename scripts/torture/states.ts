/**
 * The state check (test/harness/states/check.ts), for as long as one likes. The nodes are the executable, as it is shipped,
 * made first.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { SQLITE_NAMES } from '../../test/harness/sqlite-builds.ts';
import { checkStates, countsOf } from '../../test/harness/states/check.ts';
import { makeShipped } from '../build/shipped.ts';

const USAGE = `usage: npm run torture -- states [options]

  --rounds N           how many (2000)
  --minutes N          begins no round after that time
  --seed N             of the first round; the others have the next ones (at random, or $LITEFS_LITE_SEED)
  --only WORDS         rounds with all of these in their plan, such as "savepoints, wal"
  --sqlites NAMES      of the writers (debian,newest,oldest)
  --transactions N     of each writer in a round (60)
  --readers N          on the replica (2)
  --passthrough WHAT   of the nodes: auto, off, or one after the other (both)
  --allow-busy         readers of the replica may meet SQLITE_BUSY
  --limit SECONDS      after which a round has failed that has not ended, and is ended (by its plan)
  --keep-going         does not end at the first round that fails
  --quiet              says nothing of rounds that are well`;

const KIND_CHARS = 90;
const ALL = ['auto', 'off'] as const;
const ROOT = path.resolve(import.meta.dirname, '../..');

/** Whether all rounds were well. */
export async function states(args: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '2000' },
      minutes: { type: 'string' },
      seed: { type: 'string', default: process.env.LITEFS_LITE_SEED },
      sqlites: { type: 'string', default: SQLITE_NAMES.join() },
      only: { type: 'string', default: '' },
      transactions: { type: 'string', default: '60' },
      readers: { type: 'string', default: '2' },
      passthrough: { type: 'string', default: 'both' },
      limit: { type: 'string' },
      'allow-busy': { type: 'boolean', default: false },
      'keep-going': { type: 'boolean', default: false },
      quiet: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return true;
  }
  process.env.LITEFS_LITE_EXECUTABLE ??= makeShipped(ROOT);
  const startedMs = performance.now();
  const untilMs = values.minutes === undefined ? Infinity : Number(values.minutes) * 60_000;
  const words = values.only.split(',').map((word) => word.trim());
  let failures = 0;
  const summary = await checkStates({
    rounds: Number(values.rounds),
    seed: Number(values.seed ?? Math.floor(Math.random() * 2 ** 30)),
    sqlites: SQLITE_NAMES.filter((name) => values.sqlites.split(',').includes(name)),
    isWanted: (plan) => words.every((word) => plan.includes(word)),
    transactions: Number(values.transactions),
    readers: Number(values.readers),
    passthroughs: ALL.filter((one) => values.passthrough === 'both' || values.passthrough === one),
    isBusyFault: !values['allow-busy'],
    limitMs: values.limit === undefined ? undefined : Number(values.limit) * 1000,
    isEnough: () =>
      performance.now() - startedMs > untilMs || (failures > 0 && !values['keep-going']),
    onRound: (title, { faults, commits, states: rebuilt, reads, busy }, ms) => {
      if (faults.length > 0) failures++;
      if (faults.length === 0 && values.quiet) return;
      const counts = `${commits} commits, ${rebuilt} states, ${reads} reads, ${busy} busy`;
      console.log(
        `${faults.length > 0 ? 'FAILED' : 'ok'}  ${title}: ${counts}, ${(ms / 1000).toFixed(1)} s`,
      );
      for (const fault of faults) console.log(`        ${fault}`);
    },
  });
  for (const missing of summary.missing) console.log(`not built: ${missing}`);
  for (const [kind, count] of kindsOf(summary.faults)) console.log(`${count} times: ${kind}`);
  console.log(`${failures} of ${summary.rounds} rounds failed. ${countsOf(summary)}.`);
  return failures === 0;
}

/** How often each was said, whatever the numbers in it. */
function kindsOf(faults: readonly string[]): [string, number][] {
  const kinds = new Map<string, number>();
  for (const fault of faults) {
    const text = fault.slice(fault.indexOf('] ') + 2).split('\n')[0];
    const kind = text.replaceAll(/[0-9a-f]{16}|s?\d+/g, '#').slice(0, KIND_CHARS);
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  return [...kinds].sort((a, b) => b[1] - a[1]);
}
