/** One power cut of a recorded life: the disks that it left, and what SQLite alone finds on them. */
import fs from 'node:fs';
import path from 'node:path';
import { removeNodes } from '../mount-points.ts';
import { SeededRandom } from '../random.ts';
import { FATES, type Fate, writeCrashImage } from './crash-image.ts';
import { DISK_BYTES, MountedDisk, run } from './disks.ts';
import { type Life, type NodeRole, ROLES } from './life.ts';
import { highestTxidIn } from './pages.ts';
import type { Probe, Sighting } from './probe.ts';

/** What is chosen of a cut. */
export interface Cut {
  /** After how many records of the life's log. */
  readonly at: number;
  readonly fates: Record<NodeRole, Fate>;
  /** Which survivors are of this moment. */
  readonly survivors?: string;
  readonly seed: number;
}

/** A disk as the cut left it, looked at without a node. */
export interface Remains {
  /** By bank. */
  readonly sightings: ReadonlyMap<string, Sighting>;
  /** The highest TXID that the log of each bank tells of. */
  readonly txids: ReadonlyMap<string, number>;
}

/** Soon after an event: within so many records. */
const SOON_RECORDS = 400;

/** A moment of a life: now and then one that has survivors, or soon after something has happened. */
export function chooseCut(life: Life, random: SeededRandom): Cut {
  const seed = random.below(0x7fffffff);
  const fates = { primary: random.pick(FATES), replica: random.pick(FATES) };
  const notes = life.notes.filter(({ note }) => note.kind !== 'dropping');
  const events = notes.filter(({ note }) => note.kind === 'event');
  const survivors = notes.filter(({ note }) => note.kind === 'survivors');
  const first = notes.find(({ note }) => note.kind === 'done')?.at ?? 0;
  const chance = random.below(10);
  if (chance < 4 && survivors.length > 0) {
    const { at, note } = random.pick(survivors);
    const n = note.kind === 'survivors' ? note.n : 0;
    return { at, fates, seed, survivors: life.survivors[n] };
  }
  let at = first + random.below(life.records.length - first);
  if (chance < 8) {
    const i = random.below(events.length);
    const until = events[i + 1]?.at ?? life.records.length;
    at = events[i].at + random.below(Math.min(SOON_RECORDS, until - events[i].at + 1));
  }
  return { at: Math.min(Math.max(at, first), life.records.length), fates, seed };
}

/** The scene of one cut, in a folder of its own. */
export class Crash {
  readonly life: Life;
  readonly cut: Cut;
  readonly dir: string;
  readonly #probe: Probe;
  readonly #remains = new Map<NodeRole, Remains>();
  readonly #made = new Set<NodeRole>();

  readonly #kept: string | undefined;

  /** `kept`: a folder with the disks, `<role>.img`; absent: they are made of the life's log. */
  constructor(life: Life, cut: Cut, dir: string, probe: Probe, kept?: string) {
    this.#kept = kept;
    this.life = life;
    this.cut = cut;
    this.dir = dir;
    this.#probe = probe;
    fs.mkdirSync(dir, { recursive: true });
  }

  /** How many disks were made of it. */
  get images(): number {
    return this.#made.size;
  }

  /** The disk of a node as the cut left it. */
  writeImage(role: NodeRole, file: string): void {
    this.#made.add(role);
    if (this.#kept !== undefined) {
      fs.copyFileSync(path.join(this.#kept, `${role}.img`), file);
      return;
    }
    const { log, records } = this.life;
    const { at, fates, seed } = this.cut;
    const cut = { disk: ROLES.indexOf(role), bytes: DISK_BYTES, at, fate: fates[role] };
    writeCrashImage(file, log, records, cut, new SeededRandom(seed));
  }

  /** The disk, mounted: ext4 has replayed its journal. */
  mount(role: NodeRole, dir: string): MountedDisk {
    const file = `${dir}.img`;
    this.writeImage(role, file);
    return MountedDisk.mount(file, dir, this.life.settings.mountOptions);
  }

  /** What SQLite alone finds on the disk of a node, in copies of the files. */
  async remains(role: NodeRole): Promise<Remains> {
    const known = this.#remains.get(role);
    if (known) return known;
    const dir = path.join(this.dir, `control-${role}`);
    const copies = path.join(this.dir, `copies-${role}`);
    const txids = new Map<string, number>();
    const disk = this.mount(role, dir);
    try {
      const tree = path.join(dir, 'data', 'tree');
      fs.mkdirSync(copies, { recursive: true });
      for (const { name } of this.life.settings.banks) {
        for (const file of [name, `${name}-wal`, `${name}-journal`]) {
          if (!fs.existsSync(path.join(tree, file))) continue;
          fs.copyFileSync(path.join(tree, file), path.join(copies, file));
        }
        txids.set(name, highestTxidIn(path.join(dir, 'data'), name));
      }
    } finally {
      disk.unmount();
    }
    const sightings = new Map<string, Sighting>();
    for (const { name } of this.life.settings.banks) {
      sightings.set(name, await this.#probe.look(path.join(copies, name), true));
    }
    const remains = { sightings, txids };
    this.#remains.set(role, remains);
    return remains;
  }

  /** The same, when it was looked at already. */
  known(role: NodeRole): Remains | undefined {
    return this.#remains.get(role);
  }

  /** Whether ext4 itself is sound: else the cut was none that a disk may leave. */
  assertSound(role: NodeRole): void {
    const dir = path.join(this.dir, `fsck-${role}`);
    this.mount(role, dir).unmount();
    run('e2fsck', '-fn', `${dir}.img`);
  }

  close(): void {
    removeNodes(this.dir);
  }
}
