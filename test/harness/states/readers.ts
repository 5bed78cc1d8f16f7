/**
 * Readers of a bank, processes of their own that look all the time: one that stays, and others that are killed in the
 * middle of what they read, and come back.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { SeededRandom } from '../random.ts';
import { SqlDriver, type Watched, type WatchOptions } from '../sql-driver.ts';
import { CHECK } from './bank.ts';

const LIFE_MS_MIN = 100;
const LIFE_MS_MAX = 900;

export interface ReaderParts {
  readonly file: string;
  /** Of the one that stays, and of each of the others. */
  readonly programs: readonly string[];
  readonly options: WatchOptions;
  readonly seed: number;
}

export class Readers {
  readonly #parts: ReaderParts;
  readonly #seen: Watched[] = [];
  readonly #drivers = new Set<SqlDriver>();
  #isOver = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(parts: ReaderParts) {
    this.#parts = parts;
  }

  start(): void {
    const [first, ...others] = this.#parts.programs;
    const mortals = others.map((program, index) => this.#liveAndDie(program, index));
    this.#running = Promise.all([this.#stay(first), ...mortals]);
  }

  /** Lets them end, and returns what each has seen. */
  async stop(): Promise<readonly Watched[]> {
    this.#isOver = true;
    await this.#running;
    return this.#seen;
  }

  async kill(): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#drivers].map((driver) => driver.kill()));
    // Of readers that were killed there is nothing more to say.
    await this.#running.catch(() => {});
  }

  async #stay(program: string): Promise<void> {
    const { driver, stop } = this.#watch(program, 0);
    await this.#until(Infinity);
    this.#seen.push(await stop());
    await driver.end();
  }

  async #liveAndDie(program: string, index: number): Promise<void> {
    const random = new SeededRandom(this.#parts.seed * 13 + index);
    while (!this.#isOver) {
      const { driver, stop } = this.#watch(program, this.#parts.options.reopenEach);
      await this.#until(LIFE_MS_MIN + random.below(LIFE_MS_MAX));
      if (this.#isOver || random.below(2) === 0) this.#seen.push(await stop());
      await driver.kill();
      this.#drivers.delete(driver);
    }
  }

  #watch(program: string, reopenEach: number) {
    const { file, options } = this.#parts;
    const driver = new SqlDriver(program);
    this.#drivers.add(driver);
    return { driver, stop: driver.watch(file, CHECK, { ...options, reopenEach }) };
  }

  async #until(ms: number): Promise<void> {
    const endMs = performance.now() + ms;
    while (!this.#isOver && performance.now() < endMs) await wait(20);
  }
}
