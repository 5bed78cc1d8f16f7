/**
 * A round of the state check: writers on the primary, readers on the replica, and in the end every state that the log
 * holds, and what both nodes show.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { inSync, type TestNode } from '../cluster.ts';
import { whileEngineStands } from '../paused-thread.ts';
import { SeededRandom } from '../random.ts';
import { SqlDriver, type Watched } from '../sql-driver.ts';
import type { SqliteName } from '../sqlite-builds.ts';
import { CHECK, creation } from './bank.ts';
import { Inspector } from './inspector.ts';
import { Ledger } from './ledger.ts';
import type { RoundPlan } from './plan.ts';
import { Writer } from './writer.ts';

const CREATION_TIMES_MAX = 40;
const PAUSE_MS_MAX = 40;
const BETWEEN_PAUSES_MS_MAX = 150;
const INTEGRITY_EACH = 8;
const REOPEN_EACH = 5;

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
  /** Whatever else was started. */
  readonly #drivers: SqlDriver[] = [];
  #isOver = false;

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
    const { plan, primary, replica } = this.#parts;
    const from = primary.log.length;
    await this.#create();
    await inSync(primary, replica, this.#name);
    const readers = this.#watchReplica();
    const stopReading = plan.isRead ? this.#watchPrimary() : undefined;
    const pausing = plan.pauses ? this.#pause() : undefined;
    await Promise.all(this.#writers.map((writer) => writer.run()));
    this.#isOver = true;
    await pausing;
    await Promise.all(this.#writers.map((writer) => writer.settle()));
    await this.#inspector.compare('while its writers have it open');
    await Promise.all(this.#writers.map((writer) => writer.end()));
    await this.#inspector.compare('when its writers have gone');
    this.#inspector.judgeLog();
    if (stopReading) this.#watched('the primary', await stopReading(), true);
    const seen = await Promise.all(readers.map((stop) => stop()));
    for (const watched of seen) this.#watched('the replica', watched, this.#parts.isBusyFault);
    this.#judgeNodes(from);
    const sum = (of: (watched: Watched) => number) => seen.reduce((all, one) => all + of(one), 0);
    return {
      commits: this.#ledger.committed.size,
      states: this.#inspector.states,
      reads: sum(({ transactions }) => transactions),
      busy: sum(({ busy }) => busy),
      kills: this.#ledger.kills,
      pauses: this.#ledger.pauses,
      lost: this.#ledger.lost.size,
      comparisons: this.#logged(from, `compared every page of ${this.#name}`),
      faults: [...this.#ledger.faults, ...this.#inspector.faults, ...this.#faults],
    };
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#writers, ...this.#drivers].map((started) => started.kill()));
  }

  #program(name: SqliteName): string {
    const { programs } = this.#parts;
    return programs.get(name) ?? ([...programs.values()][0] as string);
  }

  #start(name: SqliteName): SqlDriver {
    const driver = new SqlDriver(this.#program(name));
    this.#drivers.push(driver);
    return driver;
  }

  async #create(): Promise<void> {
    const { plan } = this.#parts;
    const driver = this.#start(plan.sqlites[0]);
    await driver.open(this.#file);
    await driver.mustRun([
      `PRAGMA page_size=${plan.pageSize}`,
      `PRAGMA auto_vacuum=${plan.autoVacuum}`,
      `PRAGMA journal_mode=${plan.mode}`,
      `PRAGMA synchronous=${plan.synchronous}`,
      ...creation(Math.min(CREATION_TIMES_MAX, plan.pageSize / 32)),
    ]);
    await driver.end();
  }

  #watchReplica(): (() => Promise<Watched>)[] {
    const { replica, readers } = this.#parts;
    return Array.from({ length: readers }, (_, index) => {
      const driver = this.#start(index % 2 === 0 ? 'newest' : 'debian');
      return driver.watch(replica.file(this.#name), CHECK, {
        checkEach: INTEGRITY_EACH,
        reopenEach: index === 0 ? 0 : REOPEN_EACH,
        timeoutMs: 0,
        readonly: true,
      });
    });
  }

  #watchPrimary(): () => Promise<Watched> {
    return this.#start('newest').watch(this.#file, CHECK, {
      checkEach: 0,
      reopenEach: 0,
      timeoutMs: 10_000,
      // Only who may write can roll back what a killed writer has left.
      readonly: false,
    });
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

  #watched(where: string, { busy, complaints }: Watched, isBusyFault: boolean): void {
    const lost = this.#ledger.lost.size > 0;
    if (isBusyFault && busy > 0)
      this.#faults.push(`a reader of ${where} met SQLITE_BUSY ${busy} times`);
    for (const complaint of complaints) {
      if (lost && complaint.startsWith('went back')) continue;
      this.#faults.push(`a reader of ${where}: ${complaint}`);
    }
  }

  #logged(from: number, text: string): number {
    return this.#parts.primary.log.slice(from).filter(({ msg }) => msg.includes(text)).length;
  }

  #judgeNodes(from: number): void {
    for (const node of [this.#parts.primary, this.#parts.replica]) {
      const lines = node.log.slice(node === this.#parts.primary ? from : 0);
      for (const { level, msg } of lines) {
        if (msg.includes(this.#name) && /^(?:warn|error|fatal)$/i.test(level)) {
          this.#faults.push(`${node.name} says: ${msg}`);
        }
      }
    }
  }
}
