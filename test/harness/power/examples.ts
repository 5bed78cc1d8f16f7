/**
 * Power cuts that are kept, to be looked into and played again: a folder for each, with
 *
 *     primary.img, replica.img    the disks as the cut left them
 *     survivors/                  the data directories of nodes that were only killed, if there are any
 *     example.json                life, cut, scenario, and what was found
 *     nodes.log                   what the nodes said
 */
import fs from 'node:fs';
import path from 'node:path';
import { type Outcome, playScenario, type Scenario } from './aftermath.ts';
import type { Finding } from './checks.ts';
import { Crash, type Cut } from './crash.ts';
import { History } from './history.ts';
import { type LifeSettings, type PlacedNote, ROLES } from './life.ts';
import { Probe } from './probe.ts';
import type { CutReport } from './rounds.ts';
import { scratchFolder, sweep } from './scratch.ts';

interface Example {
  /** Of the cluster. */
  readonly seed: number;
  readonly settings: LifeSettings;
  readonly notes: readonly PlacedNote[];
  readonly cut: Cut;
  readonly scenario: Scenario;
  readonly findings: readonly Finding[];
}

export function keepExample(dir: string, seed: number, report: CutReport): void {
  fs.mkdirSync(dir, { recursive: true });
  const { scenario, findings, crash, log } = report;
  const { life, cut } = crash;
  for (const role of ROLES) crash.writeImage(role, path.join(dir, `${role}.img`));
  if (cut.survivors) fs.cpSync(cut.survivors, path.join(dir, 'survivors'), { recursive: true });
  const { settings, notes } = life;
  const example: Example = { seed, settings, notes, cut, scenario, findings };
  fs.writeFileSync(path.join(dir, 'example.json'), `${JSON.stringify(example, null, 1)}\n`);
  fs.writeFileSync(path.join(dir, 'nodes.log'), `${log}\n`);
}

/** Starts nodes on the disks of an example. */
export async function replayExample(dir: string): Promise<Outcome> {
  const text = fs.readFileSync(path.join(dir, 'example.json'), 'utf8');
  const { settings, notes, cut, scenario } = JSON.parse(text) as Example;
  const survivors = cut.survivors && path.join(dir, 'survivors');
  const scratch = scratchFolder();
  const probe = new Probe();
  try {
    const life = { settings, notes, log: '', records: [], history: new History(), survivors: [] };
    const place = path.join(scratch, 'crash');
    const crash = new Crash(life, { ...cut, survivors }, place, probe, dir);
    return await playScenario(crash, scenario, probe);
  } finally {
    probe.close();
    sweep(scratch);
  }
}
