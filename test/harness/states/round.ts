/**
 * A round of the state check: writers on the primary, readers on the replica, and in the end every state that the log
 * holds, and what both nodes show.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { unmount } from '../../../src/os/mounts.ts';
import type { TestNode } from '../cluster.ts';
import { whileEngineStands } from '../paused-thread.ts';
import { SeededRandom } from '../random.ts';
import { SqlDriver, type Watched } from '../sql-driver.ts';
import type { SqliteName } from '../sqlite-builds.ts';
import { creation } from './bank.ts';
import { Inspector } from './inspector.ts';
import { Ledger } from './ledger.ts';
import type { RoundPlan } from './plan.ts';
import { type ReaderParts, Readers } from './readers.ts';
import { Writer } from './writer.ts';

const CREATION_TIMES_MAX = 40;
const PAUSE_MS_MAX = 40;
const BETWEEN_PAUSES_MS_MAX = 150;
const INTEGRITY_EACH = 8;
const REOPEN_EACH = 5;
const STAY_MS = 25;
const READERS = ['newest', 'debian', 'oldest'] as const;

export interface RoundParts {
  readonly plan: RoundPlan;
  readonly primary: TestNode;
  readonly replica: TestNode;
  readonly programs: ReadonlyMap<SqliteName, string>;
  /** Readers on the replica. */
  readonly readers: number;
  /** Whether SQLITE_BUSY is a fault there, in any journal mode. */
  readonly isBusyFault: boolean;
}

export interface RoundReport {
  readonly commits: number;
  readonly states: number;
  readonly reads: number;
  /** SQLITE_BUSY that readers of the replica met. */
  readonly busy: number;
  readonly kills: number;
  readonly pauses: number;
  /** Committed transactions that SQLite itself has lost with a kill. */
  readonly lost: number;
  /** Databases that SQLite itself has destroyed with a kill. */
  readonly wrecked: number;
  /** Warnings that a database which is written without a journal on the disk leaves no moment to read it. */
  readonly delays: number;
  /** How often the primary compared every page. */
  readonly comparisons: number;
  readonly faults: readonly string[];
}

export async function runRound(parts: RoundParts): Promise<RoundReport> {
  const round = new Round(parts);
  try {
    return await round.run();
  } finally {
    await round.close();
  }
}

class Round {
  readonly #parts: RoundParts;
  readonly #name: string;
  readonly #file: string;
  readonly #ledger = new Ledger();
  readonly #inspector: Inspector;
  readonly #faults: string[] = [];
  readonly #writers: Writer[];
  readonly #readers: Readers[] = [];
  /** By those of the replica. */
  #seen: readonly Watched[] = [];
  #isOver = false;
  #delays = 0;

  constructor(parts: RoundParts) {
    this.#parts = parts;
    const { plan, primary } = parts;
    this.#name = `s${plan.seed}.db`;
    this.#file = primary.file(this.#name);
    this.#inspector = new Inspector({ ...parts, name: this.#name, ledger: this.#ledger });
    this.#writers = plan.sqlites.map((sqlite, index) => {
      const program = this.#program(sqlite);
      return new Writer({ plan, ledger: this.#ledger, file: this.#file, program, index });
    });
  }

  async run(): Promise<RoundReport> {
    const { plan, primary } = this.#parts;
    const from = this.#nodes.map((node) => node.log.length);
    try {
      await this.#live();
      if (plan.restart !== 'none') await this.#restart(plan.restart);
      await this.#judgeNodes(from);
    } catch (error) {
      this.#faults.push((error as Error).message);
    }
    const compared = primary.log
      .slice(from[0])
      .filter(({ msg }) => msg.startsWith(`compared every page of ${this.#name}`));
    const waited = primary.log
      .slice(from[0])
      .filter(({ msg }) => msg.startsWith(`${this.#name} cannot be captured yet`));
    const faults = [...this.#ledger.faults, ...this.#inspector.faults, ...this.#faults];
    // Where a state came from that is none.
    if (faults.length > 0) {
      faults.push(...[...compared, ...waited].map(({ txid, msg }) => `at ${txid}: ${msg}`));
    }
    return {
      commits: this.#ledger.committed.size,
      states: this.#inspector.states,
      reads: sumOf(this.#seen, ({ transactions }) => transactions),
      busy: sumOf(this.#seen, ({ busy }) => busy),
      kills: this.#ledger.kills,
      pauses: this.#ledger.pauses,
      lost: this.#ledger.lost.size,
      wrecked: this.#ledger.isWrecked ? 1 : 0,
      delays: this.#delays,
      comparisons: compared.length,
      faults,
    };
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#writers, ...this.#readers].map((started) => started.kill()));
  }

  get #nodes(): readonly [TestNode, TestNode] {
    return [this.#parts.primary, this.#parts.replica];
  }

  #program(name: SqliteName): string {
    const { programs } = this.#parts;
    return programs.get(name) ?? ([...programs.values()][0] as string);
  }

  /** From the first statement to the last state of the log. */
  async #live(): Promise<void> {
    const { plan, isBusyFault } = this.#parts;
    await this.#create();
    await this.#inspector.followed();
    const onReplica = this.#readReplica();
    const onPrimary = plan.isRead ? this.#readPrimary() : undefined;
    // Said when all has ended, with the plan.
    const pausing = plan.pauses
      ? this.#pause().catch(({ message }) => this.#faults.push(message))
      : undefined;
    await Promise.all(this.#writers.map((writer) => writer.run()));
    this.#isOver = true;
    await pausing;
    await Promise.all(this.#writers.map((writer) => writer.settle()));
    await this.#inspector.compare('while its writers have it open');
    // Two that close at once leave the -wal to each other, and the next to open it recovers it (docs/sqlite-quirks.md).
    for (const writer of this.#writers) await writer.end();
    await this.#inspector.compare('when its writers have gone');
    this.#inspector.judgeLog();
    if (onPrimary) this.#judge('primary', await onPrimary.stop(), true);
    this.#seen = await onReplica.stop();
    this.#judge('replica', this.#seen, isBusyFault);
  }

  async #create(): Promise<void> {
    const { plan } = this.#parts;
    const driver = new SqlDriver(this.#program(plan.sqlites[0]));
    try {
      await driver.open(this.#file);
      await driver.mustRun([
        `PRAGMA page_size=${plan.pageSize}`,
        `PRAGMA auto_vacuum=${plan.autoVacuum}`,
        `PRAGMA journal_mode=${plan.mode}`,
        `PRAGMA synchronous=${plan.synchronous}`,
        ...creation(Math.min(CREATION_TIMES_MAX, plan.pageSize / 32)),
      ]);
    } finally {
      await driver.end();
    }
  }

  #readReplica(): Readers {
    const { replica, readers, plan } = this.#parts;
    const names = Array.from({ length: readers }, (_, i) => READERS[i % READERS.length]);
    return this.#read({
      file: replica.file(this.#name),
      programs: names.map((name) => this.#program(name)),
      options: {
        checkEach: INTEGRITY_EACH,
        reopenEach: REOPEN_EACH,
        timeoutMs: 0,
        stayMs: STAY_MS,
        readonly: true,
      },
      seed: plan.seed,
    });
  }

  #readPrimary(): Readers {
    // Only who may write can roll back what a killed writer has left.
    const options = { checkEach: 0, reopenEach: 0, timeoutMs: 10_000, stayMs: STAY_MS };
    return this.#read({
      file: this.#file,
      programs: [this.#program('newest')],
      options: { ...options, readonly: false },
      seed: this.#parts.plan.seed,
    });
  }

  #read(parts: ReaderParts): Readers {
    const readers = new Readers(parts);
    this.#readers.push(readers);
    readers.start();
    return readers;
  }

  /** The node goes and comes back, when nobody has the database open. */
  async #restart(how: 'stop' | 'kill'): Promise<void> {
    const { primary } = this.#parts;
    if (how === 'stop') await primary.stop();
    else {
      await primary.kill();
      unmount(primary.mount, { detach: true });
    }
    await primary.start();
    await this.#inspector.compare(`after a ${how} of the primary`);
  }

  async #pause(): Promise<void> {
    const { plan, primary } = this.#parts;
    const random = new SeededRandom(plan.seed * 17 + 3);
    while (!this.#isOver) {
      await wait(random.below(BETWEEN_PAUSES_MS_MAX));
      await whileEngineStands(primary, () => wait(random.below(PAUSE_MS_MAX)));
      this.#ledger.pauses++;
    }
  }

  #judge(where: string, seen: readonly Watched[], isBusyFault: boolean): void {
    const busy = sumOf(seen, (watched) => watched.busy);
    if (isBusyFault && busy > 0) {
      this.#faults.push(`readers of the ${where} met SQLITE_BUSY ${busy} times`);
    }
    // What SQLite has lost with a kill takes readers back.
    const isLost = this.#ledger.lost.size > 0;
    if (this.#ledger.isWrecked) return;
    for (const { complaints } of seen) {
      const others = complaints.filter((text) => !isLost || !text.startsWith('went back'));
      if (others.every((text) => text.endsWith(' in all'))) continue;
      for (const text of others) this.#faults.push(`a reader of the ${where}: ${text}`);
    }
  }

  /** What the nodes have said of the database, and how it is. */
  async #judgeNodes(from: readonly number[]): Promise<void> {
    for (const [index, node] of this.#nodes.entries()) {
      for (const { level, msg } of node.log.slice(from[index])) {
        const isBad = level === 'warn' || level === 'error' || level === 'fatal';
        if (!isBad || !msg.includes(this.#name)) continue;
        if (this.#ledger.isJournalless && /changes cannot be read: /.test(msg)) this.#delays++;
        else this.#faults.push(`${node.name} says: ${msg}`);
      }
      const { databases } = await node.info();
      const found = databases.find(({ name }) => name === this.#name);
      if (found?.state !== 'ok') this.#faults.push(`${node.name} has it as ${found?.state}`);
    }
  }
}

function sumOf<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((sum, one) => sum + of(one), 0);
}
