/** Lives, the power cuts of each, and what becomes of the nodes after them. */
import path from 'node:path';
import { SeededRandom } from '../random.ts';
import { NEEDS_SURVIVORS, playScenario, SCENARIOS, type Scenario } from './aftermath.ts';
import type { Finding } from './checks.ts';
import { Crash, type Cut, chooseCut } from './crash.ts';
import { live } from './events.ts';
import { type Life, type LifeSettings, ROLES } from './life.ts';
import { Probe } from './probe.ts';
import { scratchFolder, sweep } from './scratch.ts';
import { chooseLife } from './settings.ts';

/** ext4 itself is checked on one image of so many. */
const FSCK_EVERY = 10;

export interface RoundOptions {
  /** Repeats the choices, not what the scheduler does. */
  readonly seed: number;
  readonly events: number;
  /** Of each life. */
  readonly cuts: number;
  /** One life alone. */
  readonly isShort?: boolean;
  /** Is told of each cut when it is done with; `crash` is gone afterwards. */
  readonly told?: (report: CutReport) => void;
}

export interface CutReport {
  readonly crash: Crash;
  readonly scenario: Scenario;
  readonly findings: readonly Finding[];
  readonly log: string;
}

export interface Counts {
  lives: number;
  /** Transactions of applications during the lives. */
  commits: number;
  /** Writes and flushes of the disks. */
  records: number;
  cuts: number;
  /** Disks made of cuts. */
  images: number;
  /** Of databases on those disks, how many SQLite alone finds sound. */
  soundAlone: number;
  unsoundAlone: number;
  /** Restarts at a TXID that had other content before the cut, which is none of the findings while replicas notice. */
  reused: number;
  /** Of former replicas, databases in an older state than SQLite alone finds, which is sound and may be. */
  older: number;
}

export function noCounts(): Counts {
  return {
    lives: 0,
    commits: 0,
    records: 0,
    cuts: 0,
    images: 0,
    soundAlone: 0,
    unsoundAlone: 0,
    reused: 0,
    older: 0,
  };
}

/** A life with its cuts, and one that goes on from what a cut of it has left. Counts as it goes. */
export async function powerRound(options: RoundOptions, counts = noCounts()): Promise<void> {
  const random = new SeededRandom(options.seed);
  const dir = scratchFolder();
  const probe = new Probe();
  try {
    const settings = chooseLife(random);
    const first = await oneLife(path.join(dir, 'first'), settings, options, random, probe, counts);
    if (options.isShort) return;
    const begin = await goOn(first, path.join(dir, 'cut'), random, probe);
    await oneLife(path.join(dir, 'second'), begin, options, random, probe, counts);
  } finally {
    probe.close();
    sweep(dir);
  }
}

async function oneLife(
  dir: string,
  settings: LifeSettings,
  { cuts, events, told }: RoundOptions,
  random: SeededRandom,
  probe: Probe,
  counts: Counts,
): Promise<Life> {
  const life = await live(dir, settings, events, random);
  counts.lives++;
  counts.records += life.records.length;
  counts.commits += life.notes.filter(({ note }) => note.kind === 'done').length;
  for (let i = 0; i < cuts; i++) {
    const crash = new Crash(life, chooseCut(life, random), path.join(dir, 'crash'), probe);
    try {
      const report = await playCut(crash, chooseScenario(crash.cut, random), probe, counts);
      if (i % FSCK_EVERY === 0) for (const role of ROLES) crash.assertSound(role);
      told?.(report);
    } finally {
      crash.close();
    }
  }
  return life;
}

/** The next life of a cluster that has lost power, without the databases that SQLite alone cannot read any more. */
async function goOn(
  life: Life,
  dir: string,
  random: SeededRandom,
  probe: Probe,
): Promise<LifeSettings> {
  const crash = new Crash(life, chooseCut(life, random), dir, probe);
  const { sightings } = await crash.remains('primary');
  const begin = ROLES.map((role) => path.join(dir, `${role}.img`));
  for (const [i, role] of ROLES.entries()) crash.writeImage(role, begin[i]);
  const banks = life.settings.banks.filter(({ name }) => !sightings.get(name)?.fault);
  return { ...life.settings, seed: random.below(0x7fffffff), banks, begin };
}

function chooseScenario(cut: Cut, random: SeededRandom): Scenario {
  if (cut.survivors && random.below(3) > 0) return random.pick(NEEDS_SURVIVORS);
  return random.pick(SCENARIOS.filter((one) => !NEEDS_SURVIVORS.includes(one)));
}

async function playCut(
  crash: Crash,
  scenario: Scenario,
  probe: Probe,
  counts: Counts,
): Promise<CutReport> {
  const { findings, reused, older, log } = await playScenario(crash, scenario, probe);
  counts.cuts++;
  counts.images += crash.images;
  counts.reused += reused;
  counts.older += older;
  for (const role of ROLES) {
    for (const { exists, fault } of crash.known(role)?.sightings.values() ?? []) {
      if (fault) counts.unsoundAlone++;
      else if (exists) counts.soundAlone++;
    }
  }
  return { crash, scenario, findings, log };
}
