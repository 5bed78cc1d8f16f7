/** Hostile bytes (test/harness/bytes) by the million, for everything that reads what a peer, a user or a client has written. */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { runCampaign } from '../../test/harness/bytes/campaign.ts';
import { GRAMMARS, grammarOf } from '../../test/harness/bytes/grammars.ts';
import type { Counts, Fault } from '../../test/harness/bytes/rounds.ts';

const USAGE = `usage: npm run torture -- bytes [options]

  --grammar NAMES      one or several, with commas between them (all)
  --inputs N           of each grammar (1000000), and a hundredth of that where a server or a start takes them
  --seed N             of the first input; the others have the next ones (at random, or $LITEFS_LITE_SEED)
  --minutes N          begins no input after that time
  --workers N          processes at a time (as many as processors)
  --hang S             kills a process of which nothing has come for so long, seconds (20)

${GRAMMARS.map(({ name, reads }) => `  ${name.padEnd(20)} ${reads}`).join('\n')}`;

const SEED_MAX = 2 ** 30;
/** An input of such a grammar takes hundreds of times as long. */
const PER_STATEFUL = 100;
const HEAP_MIB = 512;
const TEXT_CHARS = 900;
const SHOWN_OF_A_KIND = 3;

/** Whether nothing was found. */
export async function bytes(args: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args,
    options: {
      grammar: { type: 'string', default: GRAMMARS.map(({ name }) => name).join() },
      inputs: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: process.env.LITEFS_LITE_SEED },
      minutes: { type: 'string' },
      workers: { type: 'string', default: `${os.availableParallelism()}` },
      hang: { type: 'string', default: '20' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return true;
  }
  const grammars = values.grammar.split(',').map(grammarOf);
  const inputs = Number(values.inputs);
  const seed = Number(values.seed ?? Math.floor(Math.random() * SEED_MAX));
  const kinds = new Map<string, number>();
  console.log(`seed ${seed}`);
  const totals = await runCampaign({
    shares: grammars.map((grammar) => ({
      grammar,
      inputs: grammar.isStateful ? Math.ceil(inputs / PER_STATEFUL) : inputs,
    })),
    seed,
    workers: Number(values.workers),
    msMax: values.minutes === undefined ? Infinity : Number(values.minutes) * 60_000,
    heapMib: HEAP_MIB,
    hangMs: Number(values.hang) * 1000,
    isEnough: () => false,
    fault: (fault) => tell(fault, kinds),
  });
  for (const [kind, count] of kinds) {
    if (count > SHOWN_OF_A_KIND) console.log(`${count} times in all: ${kind}`);
  }
  for (const [name, counts] of totals) console.log(countsOf(name, counts));
  const all = [...totals.values()].reduce((sum, counts) => sum + counts.inputs, 0);
  const faults = [...kinds.values()].reduce((sum, count) => sum + count, 0);
  console.log(`${faults} faults in ${all} inputs.`);
  return faults === 0;
}

/** The first few of a kind in full: many inputs find the same. */
function tell({ grammar, seed, kind, text }: Fault, kinds: Map<string, number>): void {
  const key = `${grammar}: ${kind}: ${text.replaceAll(/\d+/g, '#').slice(0, 160)}`;
  const count = (kinds.get(key) ?? 0) + 1;
  kinds.set(key, count);
  if (count > SHOWN_OF_A_KIND) return;
  console.log(`FAILED  ${grammar}, seed ${seed}: ${kind}: ${text.slice(0, TEXT_CHARS)}`);
  console.log(`        npm run torture -- bytes --grammar ${grammar} --seed ${seed} --inputs 1`);
}

function countsOf(name: string, counts: Counts): string {
  const { inputs, values, bytes: sum, msMax, allocatedMax } = counts;
  const share = inputs === 0 ? 0 : Math.round((values / inputs) * 100);
  return (
    `${name}: ${inputs} inputs of ${Math.round(sum / Math.max(1, inputs))} bytes, ${share} % understood, ` +
    `at most ${msMax.toFixed(1)} ms and ${(allocatedMax / 2 ** 20).toFixed(1)} MiB`
  );
}
