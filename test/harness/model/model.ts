/**
 * The engine of a primary and real SQLites, driven step by step: one system call of one application, one step of the engine,
 * or some time that passes. A seed says who is next, so that it repeats every order of events.
 *
 * What is real: SQLite in its processes, their files and locks, the engine, what the mount decides (SqlitePolicy), inotify. What
 * is not: the kernel's FUSE and the threads between which the rest runs in a daemon, and time.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { EngineNews } from '../../../src/engine/protocol.ts';
import type { DeferredOperation, TreeEvent, Verdict } from '../../../src/fuse/policy.ts';
import { fileRole, parseResumeName } from '../../../src/mount/names.ts';
import { SharedState } from '../../../src/mount/shared-state.ts';
import { SqlitePolicy } from '../../../src/mount/sqlite-policy.ts';
import { layoutOf } from '../../../src/store/layout.ts';
import { EngineStand } from '../../unit/engine/engine-stand.ts';
import type { SeededRandom } from '../random.ts';
import type { SqlDriver, Stop } from '../sql-driver.ts';
import { StepProcess } from './step-process.ts';

/** Far more than any run takes that is not stuck. */
const STEPS_MAX = 2_000_000;
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
  /** The data directory. */
  readonly dir: string;
  readonly random: SeededRandom;
  /** Told what happens, a line each. */
  readonly trace: (line: string) => void;
}

export interface ModelCounts {
  steps: number;
  held: number;
}

export class Model {
  readonly counts: ModelCounts = { steps: 0, held: 0 };
  readonly #dir: string;
  readonly #random: SeededRandom;
  readonly #engineSteps: number;
  readonly #trace: (line: string) => void;
  readonly #tree: string;
  readonly #processes: StepProcess[] = [];
  readonly #held = new Map<bigint, StepProcess>();
  /** Descriptors of each process that may write, by number. */
  readonly #writable = new Map<StepProcess, Map<number, string>>();
  /** What the open under way of a process would make. */
  readonly #creating = new Set<StepProcess>();
  readonly #rests: Rest[] = [];
  #stand: EngineStand;
  #policy: SqlitePolicy;
  #nowMs = 0;
  #nextToken = 1n;
  #wake: () => void = () => {};

  constructor({ dir, random, trace }: ModelParts) {
    this.#dir = dir;
    this.#random = random;
    this.#engineSteps = random.pick(ENGINE_STEPS);
    this.#trace = trace;
    this.#tree = layoutOf(dir).tree;
    [this.#stand, this.#policy] = this.#node();
  }

  /** The node. Another one after restart(). */
  get stand(): EngineStand {
    return this.#stand;
  }

  file(name: string): string {
    return path.join(this.#tree, name);
  }

  start(): Promise<void> {
    return this.#stand.start();
  }

  /** When no application runs: the daemon ends, in order or killed, and is started anew. */
  async restart(how: 'stop' | 'kill'): Promise<void> {
    if (how === 'stop') await this.#stand.stop();
    else this.#stand.die();
    [this.#stand, this.#policy] = this.#node();
    await this.#stand.start();
  }

  /** Starts an application with a database. */
  drive(program: string, name: string): SqlDriver {
    const process = new StepProcess(
      program,
      () => this.#wake(),
      (which, result) => this.#did(which, result),
    );
    this.#processes.push(process);
    this.#writable.set(process, new Map());
    process.step(this.file(name));
    process.ended.then(() => this.#gone(process));
    return process;
  }

  rest(ms: number): Promise<void> {
    return new Promise((done) => {
      this.#rests.push({ dueMs: this.#nowMs + ms, done });
    });
  }

  /** Takes one step after the other until what the applications are to do is done. Rejects as that does. */
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
      if (++this.counts.steps > STEPS_MAX) throw new Error(`it does not end: ${this.#picture()}`);
      this.#step();
    }
  }

  async kill(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.killNow()));
  }

  #node(): [EngineStand, SqlitePolicy] {
    const shared = new SharedState();
    shared.role = 'primary';
    const look = () => {
      this.#nowMs += LOOK_MS;
      return this.#nowMs;
    };
    const stand = new EngineStand(
      this.#dir,
      { strictVerify: false, shared: shared.buffer },
      {
        wallClockMs: () => Date.UTC(2026, 0) + Math.floor(look()),
        clockMs: look,
        random32: () => this.#random.below(2 ** 32),
        hasAttribute: (_, name) => this.#resumed(name),
      },
    );
    stand.onNews = (news) => this.#told(news);
    stand.onWait = (ms) => this.#pass(Math.min(ms ?? 0, IDLE_MS_MAX));
    const policy = new SqlitePolicy({
      treeRoot: this.#tree,
      cutsDir: layoutOf(this.#dir).cuts,
      shared,
      replicates: () => true,
      send: (message) => this.#stand.engine.mountMessage(message),
    });
    return [stand, policy];
  }

  /** Until every process has stopped somewhere, and whoever directs them has asked for all that is asked for. */
  async #untilAllWait(isDone: () => boolean): Promise<void> {
    for (;;) {
      await setImmediate();
      if (isDone()) return;
      if (this.#processes.some(({ state }) => state === 'running')) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else {
        await setImmediate();
        if (!this.#processes.some(({ state }) => state === 'running')) return;
      }
    }
  }

  #step(): void {
    const stopped = this.#processes.filter(({ state }) => state === 'stopped');
    const chance = this.#random.below(100);
    if (chance < TIME_STEPS) this.#pass(this.#random.below(PASSES_MS_MAX * 100) / 100);
    else if (stopped.length > 0 && chance >= this.#engineSteps + TIME_STEPS) {
      this.#advance(this.#random.pick(stopped));
    } else {
      const waitMs = this.#stand.step();
      if (waitMs === 0 || stopped.length > 0) return;
      // Nobody but time can go on.
      const due = this.#rests.map(({ dueMs }) => dueMs - this.#nowMs);
      const next = Math.min(waitMs ?? Infinity, ...due);
      if (next === Infinity) throw new Error(`all wait for ever: ${this.#picture()}`);
      this.#pass(Math.max(0, Math.min(next, IDLE_MS_MAX)));
    }
  }

  #pass(ms: number): void {
    this.#nowMs += ms;
    for (const rest of this.#rests.filter(({ dueMs }) => dueMs <= this.#nowMs)) {
      this.#rests.splice(this.#rests.indexOf(rest), 1);
      rest.done();
    }
  }

  /** Lets a process do the call that it has stopped at, if the mount would. */
  #advance(process: StepProcess): void {
    const { stop } = process;
    if (stop.call === 'sleep') this.#pass(stop.size / 1000);
    const verdict = this.#judge(process);
    this.#trace(`${this.#processes.indexOf(process)} ${describeStop(stop)}: ${verdict}`);
    if (verdict === 0) process.resume('go');
    else if (verdict !== 'defer') process.resume('fail');
    else {
      process.hold();
      this.counts.held++;
      const token = this.#nextToken++;
      this.#held.set(token, process);
      this.#policy.deferred({ ...this.#operation(process), token });
    }
  }

  #judge(process: StepProcess): Verdict {
    const { call, at, size, data } = process.stop;
    const name = this.#nameOf(process);
    if (name === undefined) return 0;
    const caller = { pid: process.pid, uid: 0, gid: 0 };
    switch (call) {
      case 'open': {
        const isMade = (at & fs.constants.O_CREAT) !== 0 && !fs.existsSync(this.file(name));
        if (isMade) this.#creating.add(process);
        return isMade ? this.#policy.create(name, caller) : this.#policy.open(name, at, caller);
      }
      case 'write': {
        // Others are passed through, or let pass.
        if (fileRole(name).companion !== 'journal') return 0;
        const bytes = Buffer.alloc(size);
        data.copy(bytes);
        return this.#policy.write(name, at, bytes, caller);
      }
      case 'truncate': {
        const verdict = this.#policy.truncate(name, size, caller);
        assert(verdict !== 'keep');
        return verdict;
      }
      case 'unlink':
        return this.#policy.unlink(name, caller);
      case 'sync': {
        const fd = fs.openSync(this.file(name), 'r');
        try {
          return this.#policy.fsync(name, fd, caller);
        } finally {
          fs.closeSync(fd);
        }
      }
      default:
        return 0;
    }
  }

  #operation(process: StepProcess): Omit<DeferredOperation, 'token'> {
    const { call, at, size, data } = process.stop;
    const path = this.#nameOf(process) as string;
    switch (call) {
      case 'sync':
        return { kind: 'fsync', path };
      case 'write':
        return { kind: 'write', path, offset: at, data };
      case 'truncate':
        return { kind: 'truncate', path, size };
      default:
        assert(call === 'unlink');
        return { kind: 'unlink', path };
    }
  }

  /** As the mount does it: the operation is done before the engine goes on. */
  #resumed(name: string): boolean {
    const how = parseResumeName(name);
    const process = how && this.#held.get(how.token);
    if (!how || !process) return false;
    this.#held.delete(how.token);
    const isDone = how.errno === 0 || how.perform === true;
    this.#trace(
      `${this.#processes.indexOf(process)} goes on with ${describeStop(process.stop)}: ${how.errno}`,
    );
    if (isDone) this.#perform(process);
    process.resume(how.errno === 0 ? 'done' : 'fail');
    return true;
  }

  #perform(process: StepProcess): void {
    const { call, at, size, data } = process.stop;
    const name = this.#nameOf(process);
    if (name === undefined) return;
    const file = this.file(name);
    if (call === 'unlink') fs.unlinkSync(file);
    else if (call === 'truncate') fs.truncateSync(file, size);
    else if (call === 'write') {
      const fd = fs.openSync(file, 'r+');
      fs.writeSync(fd, data, 0, size, at);
      fs.closeSync(fd);
    }
    this.#tell(process, name);
  }

  /** A process has done its call itself. */
  #did(process: StepProcess, result: number): void {
    const name = this.#nameOf(process);
    const { call, at } = process.stop;
    const isMade = this.#creating.delete(process);
    if (call === 'lock' && result < 0) this.#trace('which it does not get');
    if (result < 0 || (name === undefined && call !== 'close')) return;
    if (call === 'open') {
      if ((at & 3) !== fs.constants.O_RDONLY)
        this.#writable.get(process)?.set(result, name as string);
      if (isMade) this.#policy.event({ kind: 'created', path: name as string, isFile: true });
    } else if (call === 'close') {
      // Which of several it was makes no difference.
      const open = this.#writable.get(process) ?? new Map<number, string>();
      const [fd] = [...open].find(([, path]) => path === name) ?? [];
      if (fd !== undefined && open.delete(fd)) this.#released(process, name as string);
    } else this.#tell(process, name as string);
  }

  #tell(process: StepProcess, path: string): void {
    const { call, size } = process.stop;
    let event: TreeEvent | undefined;
    if (call === 'unlink') event = { kind: 'removed', path };
    if (call === 'truncate') event = { kind: 'truncated', path, size, pid: process.pid };
    if (event) this.#policy.event(event);
  }

  #released(process: StepProcess, path: string): void {
    this.#policy.event({ kind: 'released', path, pid: process.pid });
  }

  /** The kernel closes what a dead process had open. */
  #gone(process: StepProcess): void {
    for (const path of this.#writable.get(process)?.values() ?? []) this.#released(process, path);
    this.#writable.delete(process);
    this.#creating.delete(process);
  }

  /** Of the file of its call, in the tree; undefined when it has no name any more. */
  #nameOf({ stop }: StepProcess): string | undefined {
    if (stop.file.endsWith(' (deleted)')) return undefined;
    const name = path.relative(this.#tree, stop.file);
    return stop.call === 'open' || fs.existsSync(stop.file) ? name : undefined;
  }

  #told(news: EngineNews): void {
    if (news.kind === 'log') this.#trace(`the engine says: ${news.message}`);
    if (news.kind === 'entry') this.#trace(`the engine has transaction ${news.entry.maxTxid}`);
  }

  /** What everybody waits for. */
  #picture(): string {
    const waiting = this.#processes
      .filter(({ state }) => state !== 'ended')
      .map(({ state, stop }) => `${state} at ${stop?.call} of ${path.basename(stop?.file ?? '')}`);
    return [...waiting, ...this.#rests.map(({ dueMs }) => `rest until ${dueMs}`)].join('; ');
  }
}

function describeStop({ call, file, at, size }: Stop): string {
  return `${call} ${path.basename(file)} ${at} ${size}`;
}
