/**
 * What becomes of nodes on the disks of a power cut: they start in all the roles that they may have, go on, and meet. Each
 * finding is something that the software promises not to happen.
 */
import fs from 'node:fs';
import path from 'node:path';
import { unmount } from '../../../src/os/mounts.ts';
import { freePorts, TestNode, until } from '../cluster.ts';
import { SeededRandom } from '../random.ts';
import { AppRun } from './app-run.ts';
import { checkNode, type Finding, samePages } from './checks.ts';
import type { Crash } from './crash.ts';
import type { MountedDisk } from './disks.ts';
import type { NodeRole } from './life.ts';
import type { Probe } from './probe.ts';

/**
 * Which node has lost power (`cut`), which was only killed (`survivor`), and who comes first. In `promoted` the replica
 * comes as the primary, and the old primary as its replica.
 */
export const SCENARIOS = [
  'primary-alone',
  'primary-then-replica',
  'primary-then-survivor',
  'replica-alone',
  'replica-of-survivor',
  'promoted',
] as const;
export type Scenario = (typeof SCENARIOS)[number];

export const NEEDS_SURVIVORS: readonly Scenario[] = [
  'primary-then-survivor',
  'replica-of-survivor',
];

const SYNC_MS_MAX = 30_000;
const WRITE_MS_MAX = 60_000;
const WRITES_MAX = 30;
const EPOCH_AFTERWARDS = 1_000_000;

export interface Outcome {
  readonly findings: readonly Finding[];
  /** See Checked. */
  readonly reused: number;
  readonly older: number;
  readonly log: string;
}

export async function playScenario(
  crash: Crash,
  scenario: Scenario,
  probe: Probe,
): Promise<Outcome> {
  const stage = new Aftermath(crash, scenario, probe);
  try {
    await stage.play();
  } finally {
    await stage.close();
  }
  return {
    findings: stage.findings,
    reused: stage.reused,
    older: stage.older,
    log: stage.logText(),
  };
}

class Aftermath {
  readonly findings: Finding[] = [];
  reused = 0;
  older = 0;
  readonly #crash: Crash;
  readonly #scenario: Scenario;
  readonly #probe: Probe;
  readonly #random: SeededRandom;
  readonly #nodes: TestNode[] = [];
  readonly #disks: MountedDisk[] = [];

  constructor(crash: Crash, scenario: Scenario, probe: Probe) {
    this.#crash = crash;
    this.#scenario = scenario;
    this.#probe = probe;
    this.#random = new SeededRandom(crash.cut.seed + 1);
  }

  async play(): Promise<void> {
    switch (this.#scenario) {
      case 'primary-alone':
        return this.#primaryFirst(undefined);
      case 'primary-then-replica':
        return this.#primaryFirst('cut');
      case 'primary-then-survivor':
        return this.#primaryFirst('survivor');
      case 'replica-alone':
        return this.#replicaAlone();
      case 'replica-of-survivor':
        return this.#replicaOfSurvivor();
      case 'promoted':
        return this.#promoted();
    }
  }

  async #primaryFirst(replicaIs: 'cut' | 'survivor' | undefined): Promise<void> {
    const primary = await this.#node('primary', 'cut', { candidate: true });
    if (!(await this.#starts(primary, 'primary', true))) return;
    await this.#check(primary, 'primary', 'after the start');
    if (this.#random.below(2) === 0) {
      await this.#write(primary);
      if (!replicaIs) await this.#check(primary, 'primary', 'after some commits');
    }
    if (replicaIs) {
      const replica = await this.#node('replica', replicaIs, { candidate: false, primary });
      await this.#meet(primary, replica);
    }
    await this.#end(primary);
  }

  async #replicaAlone(): Promise<void> {
    const replica = await this.#node('replica', 'cut', { candidate: false });
    if (!(await this.#starts(replica, 'replica', false))) return;
    await this.#check(replica, 'replica', 'after the start');
    await this.#end(replica);
  }

  async #replicaOfSurvivor(): Promise<void> {
    const primary = await this.#node('primary', 'survivor', { candidate: true });
    if (!(await this.#starts(primary, 'primary', true))) return;
    const replica = await this.#node('replica', 'cut', { candidate: false, primary });
    await this.#meet(primary, replica);
  }

  async #promoted(): Promise<void> {
    const primary = await this.#node('replica', 'cut', { candidate: true });
    if (!(await this.#starts(primary, 'replica', true))) return;
    await this.#check(primary, 'replica', 'after its promotion');
    if (this.#random.below(2) === 0) await this.#write(primary);
    const from = this.#crash.cut.survivors && this.#random.below(2) === 0 ? 'survivor' : 'cut';
    const replica = await this.#node('primary', from, { candidate: false, primary });
    await this.#meet(primary, replica);
    await this.#end(primary);
  }

  /** A node on what is left of the one that had this role. */
  async #node(
    former: NodeRole,
    from: 'cut' | 'survivor',
    { candidate, primary }: { candidate: boolean; primary?: TestNode },
  ): Promise<TestNode> {
    const { cut, life, dir } = this.#crash;
    const place = path.join(dir, `${this.#scenario}-${former}`);
    if (from === 'cut') {
      this.#disks.push(this.#crash.mount(former, place));
    } else {
      const survivors = path.join(cut.survivors as string, former);
      fs.cpSync(survivors, place, { recursive: true, preserveTimestamps: true });
    }
    const [http, replication] = await freePorts(2);
    const { passthrough, config } = life.settings;
    const node = new TestNode(former, place, [http, replication], {
      candidate,
      passthrough,
      // Nothing listens on port 1.
      primaryPort: candidate ? replication : (primary?.replicationPort ?? 1),
      config,
    });
    this.#nodes.push(node);
    return node;
  }

  async #starts(node: TestNode, former: NodeRole, ready: boolean): Promise<boolean> {
    // Looked at before, by the rules of SQLite alone.
    await this.#crash.remains(former);
    try {
      if (ready) {
        await node.start();
      } else {
        node.launch();
        const ended = node.exited.then((status) => {
          throw new Error(`it ended with ${status}`);
        });
        await Promise.race([node.logged(/^mounted on/), ended]);
        ended.catch(() => {});
      }
      return true;
    } catch (error) {
      this.#found('not-started', '', (error as Error).message);
      return false;
    }
  }

  async #check(node: TestNode, former: NodeRole, when: string): Promise<void> {
    const result = await checkNode(node, {
      life: this.#crash.life,
      at: this.#crash.cut.at,
      former,
      remains: await this.#crash.remains(former),
      probe: this.#probe,
    });
    this.reused += result.reused;
    this.older += result.older;
    for (const { kind, database, detail } of result.findings) {
      this.#found(kind, database, `${when}: ${detail}`);
    }
  }

  /** Commits that this cluster has never seen. */
  async #write(primary: TestNode): Promise<void> {
    const { life, cut } = this.#crash;
    const banks = this.#writableBanks();
    if (banks.length === 0) return;
    const app = new AppRun({
      dir: primary.mount,
      banks: life.settings.banks.filter(({ name }) => banks.includes(name)),
      seed: cut.seed,
      epoch: EPOCH_AFTERWARDS,
      transactions: this.#random.below(WRITES_MAX),
      pauseMsMax: 0,
    });
    const late = setTimeout(() => app.end('SIGKILL'), WRITE_MS_MAX);
    const status = await app.status;
    clearTimeout(late);
    if (status !== 0) {
      this.#found('cannot-write', '', `the application ended with ${status}: ${app.errors}`);
    }
  }

  /** Those that are not corrupt already: of these an application may ask all. */
  #writableBanks(): string[] {
    const bad = new Set(this.findings.map(({ database }) => database));
    return this.#crash.life.settings.banks
      .map(({ name }) => name)
      .filter((name) => !bad.has(name) && !this.#unsound.has(name));
  }

  /** Banks that SQLite alone cannot read. */
  get #unsound(): Set<string> {
    const unsound = new Set<string>();
    for (const role of ['primary', 'replica'] as const) {
      const remains = this.#crash.known(role);
      for (const [name, { fault }] of remains?.sightings ?? []) if (fault) unsound.add(name);
    }
    return unsound;
  }

  /** The replica starts, and both must be the same in the end. */
  async #meet(primary: TestNode, replica: TestNode): Promise<void> {
    try {
      await replica.start();
    } catch (error) {
      const { message } = error as Error;
      const hasEnded = / ended with /.test(message.slice(0, 200));
      this.#found(hasEnded ? 'not-started' : 'not-in-sync', '', `the replica: ${message}`);
      return;
    }
    const { databases } = await primary.info();
    for (const { name } of this.#crash.life.settings.banks) {
      // What the primary has set aside replicas keep as it was.
      if (databases.some((one) => one.name === name && one.state !== 'ok')) continue;
      let positions = '';
      try {
        await until(
          () => positions,
          async () => {
            const [ours, theirs] = [await standing(primary, name), await standing(replica, name)];
            positions = `primary ${ours || 'none'}, replica ${theirs || 'none'}`;
            return ours === theirs;
          },
          SYNC_MS_MAX,
        );
      } catch {
        this.#found('not-in-sync', name, positions);
        continue;
      }
      const difference = await samePages(this.#probe, primary, replica, name);
      if (difference) this.#found('differs', name, `${difference}, ${positions}`);
    }
  }

  async #end(node: TestNode): Promise<void> {
    if (this.#random.below(3) > 0) return;
    const status = await node.stop();
    if (status !== 0) this.#found('not-stopped', '', `a clean stop ended with ${status}`);
  }

  #found(kind: Finding['kind'], database: string, detail: string): void {
    this.findings.push({ kind, database, detail });
  }

  logText(): string {
    return this.#nodes.map((node) => node.logText()).join('\n');
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.kill()));
    for (const node of this.#nodes) unmount(node.mount, { detach: true });
    for (const disk of this.#disks) disk.unmount();
  }
}

/** Its position; '' when it has none. */
async function standing(node: TestNode, database: string): Promise<string> {
  const position = await node.position(database);
  return /^[0/]*$/.test(position) ? '' : position;
}
