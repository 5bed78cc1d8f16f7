/**
 * Engines and real SQLites, driven step by step: one system call of one application, one step of an engine, or some time that
 * passes. A seed says who is next, so that it repeats every order of events.
 *
 * What is real: SQLite in its processes, their files and locks, the engines, what the mount decides (SqlitePolicy), inotify. What
 * is not: the kernel's FUSE, the threads between which the rest runs in a daemon, the network, and time.
 */
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { EngineNews } from '../../../src/engine/protocol.ts';
import type { SeededRandom } from '../random.ts';
import type { Stop } from '../sql-driver.ts';
import { describeStop, ModelNode } from './node.ts';

/** Far more than any run takes that is not stuck. */
const STEPS_MAX = 500_000;
/** A call of the clock takes that long, so that a loop that waits for it ends. */
const LOOK_MS = 0.001;
const PASSES_MS_MAX = 5;
const IDLE_MS_MAX = 1000;
/** Of a hundred steps: one engine is as quick as its applications, another is far behind. */
const ENGINE_STEPS = [1, 5, 30, 60];
const TIME_STEPS = 4;

interface Rest {
  readonly dueMs: number;
  readonly done: () => void;
}

export interface ModelParts {
  /** For the data directories of its nodes. */
  readonly dir: string;
  readonly random: SeededRandom;
  /** Told what happens, a line each. */
  readonly trace: (line: string) => void;
  /** Told what an engine says. */
  readonly news: (role: 'primary' | 'replica', news: EngineNews) => void;
}

export class Model {
  steps = 0;
  readonly primary: ModelNode;
  readonly replica: ModelNode;
  readonly #random: SeededRandom;
  readonly #engineSteps: number;
  readonly #nodes: readonly ModelNode[];
  readonly #rests: Rest[] = [];
  /** Stops for a sleep of which the time has passed. */
  readonly #slept = new WeakSet<Stop>();
  #nowMs = 0;
  #wake: () => void = () => {};

  constructor({ dir, random, trace, news }: ModelParts) {
    this.#random = random;
    this.#engineSteps = random.pick(ENGINE_STEPS);
    const look = () => {
      this.#nowMs += LOOK_MS;
      return this.#nowMs;
    };
    const outside = {
      wallClockMs: () => Date.UTC(2026, 0) + Math.floor(look()),
      clockMs: look,
      random32: () => random.below(2 ** 32),
    };
    const node = (role: 'primary' | 'replica') =>
      new ModelNode({
        dir: path.join(dir, role),
        role,
        outside,
        trace,
        changed: () => this.#wake(),
        news(one) {
          if (one.kind === 'log') trace(`${role} says: ${one.message}`);
          if (one.kind === 'entry') trace(`${role} has transaction ${one.entry.maxTxid}`);
          news(role, one);
        },
      });
    this.primary = node('primary');
    this.replica = node('replica');
    this.#nodes = [this.primary, this.replica];
  }

  rest(ms: number): Promise<void> {
    return new Promise((done) => {
      this.#rests.push({ dueMs: this.#nowMs + ms, done });
    });
  }

  /** Takes one step after the other until what is asked of the nodes and applications is done. Rejects as that does. */
  async run<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const result = work.finally(() => {
      isDone = true;
      this.#wake();
    });
    result.catch(() => {});
    for (;;) {
      await this.#untilAllWait(() => isDone);
      if (isDone) return result;
      if (++this.steps > STEPS_MAX) throw new Error(`it does not end: ${this.#picture()}`);
      this.#step();
    }
  }

  /** Ends all that runs. */
  async close(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.killNow()));
    for (const node of this.#nodes) node.closeFiles();
  }

  get #processes() {
    return this.#nodes.flatMap(({ processes }) => processes);
  }

  /** Until every process has stopped somewhere, and whoever directs them has asked for all that is asked for. */
  async #untilAllWait(isDone: () => boolean): Promise<void> {
    const isRunning = () => this.#processes.some(({ state }) => state === 'running');
    for (;;) {
      await setImmediate();
      if (isDone()) return;
      if (isRunning()) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else {
        await setImmediate();
        if (!isRunning()) return;
      }
    }
  }

  #step(): void {
    const ready = this.#nodes.flatMap((node) => node.ready.map((process) => ({ node, process })));
    const chance = this.#random.below(100);
    if (chance < TIME_STEPS) this.#pass(this.#random.below(PASSES_MS_MAX * 100) / 100);
    else if (ready.length > 0 && chance >= this.#engineSteps + TIME_STEPS) {
      const { node, process } = this.#random.pick(ready);
      const { stop } = process;
      // In a step of its own: who waits for that time may kill it, which must not find it on its own.
      if (process.state === 'stopped' && stop.call === 'sleep' && !this.#slept.has(stop)) {
        this.#slept.add(stop);
        this.#pass(stop.size / 1000);
      } else node.advance(process);
    } else if (ready.length > 0) {
      this.#random.pick(this.#nodes).stand.step();
    } else {
      const waits = this.#nodes.map(({ stand }) => stand.step() ?? Infinity);
      // Nobody but time can go on.
      const due = this.#rests.map(({ dueMs }) => dueMs - this.#nowMs);
      const next = Math.min(...waits, ...due);
      if (next === Infinity) throw new Error(`all wait for ever: ${this.#picture()}`);
      if (next > 0) this.#pass(Math.min(next, IDLE_MS_MAX));
    }
  }

  #pass(ms: number): void {
    this.#nowMs += ms;
    for (const rest of this.#rests.filter(({ dueMs }) => dueMs <= this.#nowMs)) {
      this.#rests.splice(this.#rests.indexOf(rest), 1);
      rest.done();
    }
  }

  /** What everybody waits for. */
  #picture(): string {
    const waiting = this.#processes
      .filter(({ state }) => state !== 'ended')
      .map(({ state, stop }) => (stop ? `${state} at ${describeStop(stop)}` : state));
    return [...waiting, ...this.#rests.map(({ dueMs }) => `rest until ${dueMs}`)].join('; ');
  }
}
