/**
 * The check of the check: an application on such a disk without any node. If SQLite alone loses there what it promises, the
 * cuts are none that a disk may leave, and say nothing against a node.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import type { SeededRandom } from '../random.ts';
import { AppRun } from './app-run.ts';
import { readNotes } from './block-log.ts';
import { checkPromise, type Finding, isSafe } from './checks.ts';
import type { Crash } from './crash.ts';
import { LoggedDisks } from './disks.ts';
import { History } from './history.ts';
import { type Life, type LifeNote, type LifeSettings, ROLES } from './life.ts';
import { promisedAt } from './promises.ts';

const WRITE_BACK = path.resolve(import.meta.dirname, 'write-back.ts');

/** Some applications, one after another, ended or killed. */
export async function liveAlone(
  dir: string,
  settings: LifeSettings,
  runs: number,
  random: SeededRandom,
): Promise<Life> {
  const points = ROLES.map((role) => path.join(dir, role));
  const disks = await LoggedDisks.start(path.join(dir, 'disks'), points, settings.mountOptions);
  let app: AppRun | undefined;
  try {
    const tree = path.join(points[0], 'data', 'tree');
    fs.mkdirSync(tree, { recursive: true });
    const writeBack = spawn(process.execPath, [WRITE_BACK, `${settings.seed}`, points[0]], {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    for (let i = 1; i <= runs; i++) {
      const seed = random.below(0x7fffffff);
      const { banks } = settings;
      const notes = { notes: disks.notes, drops: true, pauseMsMax: 4 };
      app = new AppRun({ dir: tree, banks, seed, epoch: i, ...notes });
      await app.makes(50 + random.below(100));
      await app.end(random.pick(['SIGTERM', 'SIGKILL']));
      disks.note({ kind: 'event', what: 'the application ended' } satisfies LifeNote);
    }
    writeBack.stdin.end();
    await once(writeBack, 'exit');
  } finally {
    await app?.end('SIGKILL');
    disks.close();
  }
  const { log } = disks;
  const records = disks.records();
  const notes = readNotes(log, records).map(({ at, text }) => ({
    at,
    note: JSON.parse(text) as LifeNote,
  }));
  return { settings, log, records, notes, history: new History(), survivors: [] };
}

/** What SQLite has lost of what it had promised. */
export async function lostAlone(crash: Crash): Promise<Finding[]> {
  const findings: Finding[] = [];
  const { sightings } = await crash.remains('primary');
  for (const bank of crash.life.settings.banks) {
    const sighting = sightings.get(bank.name);
    if (!sighting) continue;
    const promised = promisedAt(crash.life, crash.cut.at, bank.name);
    checkPromise(promised, sighting, isSafe(bank), (kind, detail) => {
      findings.push({ kind, database: bank.name, detail });
    });
  }
  return findings;
}
