/**
 * Cooperative tasks for a thread that never returns to an event loop.
 *
 * A task is a generator. It yields to let others run: nothing, to go on as soon as it is its turn, or a
 * number of milliseconds to rest. Tasks of one lane (a database) run one after the other, in the
 * order in which they came; lanes take turns. So a scan of ten gigabytes delays no commit of
 * another database by more than one step.
 *
 * A task in the lane of a database waits for no application there: that may be held up until a task behind it has been run. Who
 * has to wait does so in a lane of its own, and comes back to that of the database (beside.ts).
 */

/** What a task yields: nothing, or how many ms to rest. */
// biome-ignore lint/suspicious/noConfusingVoidType: a bare `yield` in a task has this type.
export type Pause = number | void;
export type Task<T = unknown> = Generator<Pause, T, void>;

export type TaskDone<T> = (error: unknown, result: T | undefined) => void;

/** A task out of a function that gives its result at once, or a task. */
export function* asTask<T>(start: () => Task<T> | T): Task<T> {
  const begun = start();
  return isTask(begun) ? yield* begun : begun;
}

function isTask<T>(value: Task<T> | T): value is Task<T> {
  return (
    typeof value === 'object' && value !== null && Symbol.iterator in value && 'throw' in value
  );
}

interface Job {
  readonly start: () => Task;
  readonly done: TaskDone<unknown>;
  running: Task | undefined;
  /** Not to be stepped before this time, in ms of the clock. */
  restUntilMs: number;
}

export class Scheduler {
  readonly #lanes = new Map<string, Job[]>();
  #current: string | undefined;
  readonly #now: () => number;

  /** `now`: a monotonic clock in ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The lane whose step this is; undefined outside of step(). */
  get current(): string | undefined {
    return this.#current;
  }

  /** Adds a task to a lane. `done` is called from within step(), never from here. */
  add<T>(lane: string, start: () => Task<T>, done: TaskDone<T>): void {
    const job = { start, done: done as TaskDone<unknown>, running: undefined, restUntilMs: 0 };
    const jobs = this.#lanes.get(lane);
    if (jobs) jobs.push(job);
    else this.#lanes.set(lane, [job]);
  }

  isBusy(lane: string): boolean {
    return this.#lanes.has(lane);
  }

  get isIdle(): boolean {
    return this.#lanes.size === 0;
  }

  /** Leaves off what a lane has, as it stands: without its end. Each task is said to have failed with this error. */
  leaveOff(lane: string, error: Error): void {
    const jobs = this.#lanes.get(lane) ?? [];
    this.#lanes.delete(lane);
    for (const job of jobs.splice(0)) job.done(error, undefined);
  }

  /** Lets a lane that rests go on at once: what it waits for may have come. */
  wake(lane: string): void {
    const first = this.#lanes.get(lane)?.[0];
    if (first) first.restUntilMs = 0;
  }

  /** Gives every lane that is not resting one step. Returns how many it gave. */
  step(): number {
    let steps = 0;
    for (const [name, jobs] of this.#lanes) {
      if (jobs[0].restUntilMs > this.#now()) continue;
      steps++;
      this.#current = name;
      this.#stepFirst(jobs);
      this.#current = undefined;
      if (jobs.length === 0 && this.#lanes.get(name) === jobs) this.#lanes.delete(name);
    }
    return steps;
  }

  /** How long until a lane wants a step, in ms: 0 for now, undefined for never. */
  nextInMs(): number | undefined {
    let next: number | undefined;
    const now = this.#now();
    for (const [first] of this.#lanes.values()) {
      const wait = Math.max(0, first.restUntilMs - now);
      if (next === undefined || wait < next) next = wait;
    }
    return next;
  }

  #stepFirst(jobs: Job[]): void {
    const job = jobs[0];
    let error: unknown;
    let result: unknown;
    try {
      job.running ??= job.start();
      const step = job.running.next();
      if (!step.done) {
        job.restUntilMs = typeof step.value === 'number' ? this.#now() + step.value : 0;
        return;
      }
      result = step.value;
    } catch (thrown) {
      error = thrown ?? new Error('a task threw nothing');
    }
    // It may have been left off by itself.
    if (jobs[0] !== job) return;
    jobs.shift();
    job.done(error, result);
  }
}
