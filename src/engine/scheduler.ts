/**
 * Cooperative tasks for a thread that never returns to an event loop.
 *
 * A task is a generator. It yields to let others run: nothing, to go on as soon as it is its turn, or a
 * number of milliseconds to rest. Tasks of one lane (a database) run one after the other, in the
 * order in which they came; lanes take turns. So a scan of ten gigabytes delays no commit of
 * another database by more than one step.
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
}

interface Lane {
  readonly jobs: Job[];
  /** Not to be stepped before this time, in ms of the clock. */
  restUntilMs: number;
}

export class Scheduler {
  readonly #lanes = new Map<string, Lane>();
  readonly #now: () => number;

  /** `now`: a monotonic clock in ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Adds a task to a lane. `done` is called from within step(), never from here. */
  add<T>(lane: string, start: () => Task<T>, done: TaskDone<T>): void {
    let entry = this.#lanes.get(lane);
    if (!entry) {
      entry = { jobs: [], restUntilMs: 0 };
      this.#lanes.set(lane, entry);
    }
    entry.jobs.push({ start, done: done as TaskDone<unknown>, running: undefined });
  }

  isBusy(lane: string): boolean {
    return this.#lanes.has(lane);
  }

  get isIdle(): boolean {
    return this.#lanes.size === 0;
  }

  /** Lets a lane that rests go on at once: what it waits for may have come. */
  wake(lane: string): void {
    const entry = this.#lanes.get(lane);
    if (entry) entry.restUntilMs = 0;
  }

  /** Gives every lane that is not resting one step. Returns how many it gave. */
  step(): number {
    let steps = 0;
    for (const [name, lane] of this.#lanes) {
      if (lane.restUntilMs > this.#now()) continue;
      lane.restUntilMs = 0;
      steps++;
      this.#stepLane(lane);
      if (lane.jobs.length === 0) this.#lanes.delete(name);
    }
    return steps;
  }

  /** How long until a lane wants a step, in ms: 0 for now, undefined for never. */
  nextInMs(): number | undefined {
    let next: number | undefined;
    const now = this.#now();
    for (const lane of this.#lanes.values()) {
      const wait = Math.max(0, lane.restUntilMs - now);
      if (next === undefined || wait < next) next = wait;
    }
    return next;
  }

  #stepLane(lane: Lane): void {
    const job = lane.jobs[0];
    let error: unknown;
    let result: unknown;
    try {
      job.running ??= job.start();
      const step = job.running.next();
      if (!step.done) {
        if (typeof step.value === 'number') lane.restUntilMs = this.#now() + step.value;
        return;
      }
      result = step.value;
    } catch (thrown) {
      error = thrown ?? new Error('a task threw nothing');
    }
    lane.jobs.shift();
    job.done(error, result);
  }
}
