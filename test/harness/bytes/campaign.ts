/**
 * Inputs by the million: processes that take them, and one that looks after those. A process that hangs is killed, one that has
 * died is replaced, and both go on behind the input that did it.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import type { Grammar } from './grammar.ts';
import { scratchBase } from './guard.ts';
import { type Counts, type Fault, notedSeed } from './rounds.ts';

export interface Share {
  readonly grammar: Grammar;
  readonly inputs: number;
}

export interface CampaignOptions {
  readonly shares: readonly Share[];
  readonly seed: number;
  readonly workers: number;
  /** Begins no input after that time, ms. */
  readonly msMax: number;
  /** Of heap that a process may have, MiB. */
  readonly heapMib: number;
  /** How long nothing may come of an input before its process is killed, ms. */
  readonly hangMs: number;
  fault(fault: Fault): void;
  /** Whether no more is wanted. */
  isEnough(): boolean;
  progress?(totals: ReadonlyMap<string, Counts>): void;
}

interface Portion {
  readonly grammar: Grammar;
  readonly seed: number;
  readonly inputs: number;
}

/** A process ends after so many inputs, or so long: what it keeps is not kept for ever, and all grammars get their turns. */
const PORTION_MS = 45_000;
const PORTION_INPUTS = 200_000;
const PORTION_INPUTS_STATEFUL = 4000;
/** Until a process takes its first input: it makes what the inputs begin with. */
const START_MS_MAX = 120_000;
const CHILD = path.join(import.meta.dirname, 'child.ts');

export async function runCampaign(options: CampaignOptions): Promise<Map<string, Counts>> {
  const totals = new Map<string, Counts>();
  const untilMs = performance.now() + options.msMax;
  const portions = portionsOf(options);
  const work = async () => {
    for (let portion = portions.shift(); portion; portion = portions.shift()) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0 || options.isEnough()) return;
      const rest = await runPortion(portion, Math.min(leftMs, PORTION_MS), options, totals);
      if (rest) portions.push(rest);
    }
  };
  await Promise.all(Array.from({ length: options.workers }, work));
  return totals;
}

/** In turns, so that all grammars have had some when the time is over. */
function portionsOf({ shares, seed }: CampaignOptions): Portion[] {
  const portions: { portion: Portion; at: number }[] = [];
  for (const { grammar, inputs } of shares) {
    const most = grammar.isStateful ? PORTION_INPUTS_STATEFUL : PORTION_INPUTS;
    for (let done = 0; done < inputs; done += most) {
      const portion = { grammar, seed: seed + done, inputs: Math.min(most, inputs - done) };
      portions.push({ portion, at: done / inputs });
    }
  }
  return portions.sort((a, b) => a.at - b.at).map(({ portion }) => portion);
}

/** Resolves with what is left of it: when the time is over, or behind an input at which the process has ended. */
async function runPortion(
  { grammar, seed, inputs }: Portion,
  msMax: number,
  { heapMib, hangMs, fault, progress }: CampaignOptions,
  totals: Map<string, Counts>,
): Promise<Portion | undefined> {
  const folder = fs.mkdtempSync(path.join(scratchBase(), 'litefs-bytes-'));
  const seedFile = path.join(folder, 'seed');
  let told: Counts | undefined;
  let isDone = false;
  let wasSaid = false;
  let bug: string | undefined;
  let stderr = '';
  const child = fork(CHILD, [grammar.name, `${seed}`, `${inputs}`, `${msMax}`, seedFile], {
    cwd: folder,
    execArgv: ['--expose-gc', `--max-old-space-size=${heapMib}`],
    env: { ...process.env, TMPDIR: folder, NODE_TEST_CONTEXT: undefined },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  child.stderr?.on('data', (chunk) => {
    stderr = `${stderr}${chunk}`.slice(-4000);
  });
  child.on(
    'message',
    (message: { bug?: string; fault?: Fault; counts?: Counts; isDone?: boolean }) => {
      bug ??= message.bug;
      if (message.fault) fault(message.fault);
      wasSaid ||= message.fault?.kind === 'crash';
      told = message.counts ?? told;
      isDone ||= message.isDone === true;
      if (message.counts) progress?.(withCounts(totals, grammar.name, message.counts));
    },
  );
  // The same seed again and again: it hangs.
  let isHung = false;
  let last: number | undefined;
  let sinceMs = performance.now();
  const watch = setInterval(
    () => {
      const now = notedSeed(seedFile);
      if (now !== last) sinceMs = performance.now();
      last = now;
      if (performance.now() - sinceMs < (now === undefined ? START_MS_MAX : hangMs)) return;
      isHung = true;
      child.kill('SIGKILL');
    },
    Math.min(1000, hangMs / 4),
  );
  try {
    const [code, signal] = await once(child, 'close');
    if (bug !== undefined) throw new Error(bug);
    const at = notedSeed(seedFile);
    if (told) addCounts(totals, grammar.name, told);
    if (isDone) return restOf({ grammar, seed, inputs }, told?.inputs ?? 0);
    const kind = isHung ? 'hang' : 'crash';
    const how = isHung
      ? `nothing for ${hangMs} ms`
      : `ended with ${signal ?? code}: ${stderr.trim().slice(-600)}`;
    if (!wasSaid) fault({ grammar: grammar.name, seed: at ?? seed, kind, text: how });
    if (at === undefined) return undefined;
    // What was taken since the last word of the process.
    const done = at + 1 - seed;
    if (told === undefined || told.inputs < done) {
      const nothing = { values: 0, refused: 0, bytes: 0, msMax: 0, allocatedMax: 0 };
      addCounts(totals, grammar.name, { ...nothing, inputs: done - (told?.inputs ?? 0) });
    }
    return restOf({ grammar, seed, inputs }, done);
  } finally {
    clearInterval(watch);
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

function restOf({ grammar, seed, inputs }: Portion, done: number): Portion | undefined {
  return done < inputs ? { grammar, seed: seed + done, inputs: inputs - done } : undefined;
}

function withCounts(
  totals: ReadonlyMap<string, Counts>,
  name: string,
  counts: Counts,
): ReadonlyMap<string, Counts> {
  const all = new Map([...totals].map(([key, value]) => [key, { ...value }]));
  addCounts(all, name, counts);
  return all;
}

function addCounts(totals: Map<string, Counts>, name: string, counts: Counts): void {
  const old = totals.get(name);
  if (!old) {
    totals.set(name, { ...counts });
    return;
  }
  old.inputs += counts.inputs;
  old.values += counts.values;
  old.refused += counts.refused;
  old.bytes += counts.bytes;
  old.msMax = Math.max(old.msMax, counts.msMax);
  old.allocatedMax = Math.max(old.allocatedMax, counts.allocatedMax);
}
