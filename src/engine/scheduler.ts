/**
 * Cooperative tasks for a thread that never returns to an event loop.
 *
 * A task is a generator. It yields to let others run: nothing, to go on as soon as it is its turn, or a
 * number of milliseconds to rest. Tasks of one lane (a database) run one after the other, in the
 * order in which they came; lanes take turns. So a scan of ten gigabytes delays no commit of
 * another database by more than one step.
 *
 * A task that rests waits for somebody, who may wait for a task behind it: a writer holds its lock until the end of its
 * journal is captured. So a task may be added as one that goes ahead of those that rest.
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
  readonly goesAhead: boolean;
  running: Task | undefined;
  /** Not to be stepped before this time, in ms of the clock. */
  restUntilMs: number;
}

interface Lane {
  readonly jobs: Job[];
  /** One of them that has begun though the first one, which rests, has not ended. */
  guest: Job | undefined;
}

export class Scheduler {
  readonly #lanes = new Map<string, Lane>();
  readonly #now: () => number;

  /** `now`: a monotonic clock in ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * Adds a task to a lane. `done` is called from within step(), never from here. `goesAhead`: when the first of the lane
   * rests, this one may begin and end before that goes on.
   */
  add<T>(lane: string, start: () => Task<T>, done: TaskDone<T>, goesAhead = false): void {
    let entry = this.#lanes.get(lane);
    if (!entry) {
      entry = { jobs: [], guest: undefined };
      this.#lanes.set(lane, entry);
    }
    const rest = { running: undefined, restUntilMs: 0 };
    entry.jobs.push({ start, done: done as TaskDone<unknown>, goesAhead, ...rest });
  }

  isBusy(lane: string): boolean {
    return this.#lanes.has(lane);
  }

  get isIdle(): boolean {
    return this.#lanes.size === 0;
  }

  /**
   * Leaves off what a lane has, as it stands: without its end, and without `done`. What goes ahead and has not begun stays,
   * since somebody waits for its end.
   */
  leaveOff(lane: string): void {
    const entry = this.#lanes.get(lane);
    if (!entry) return;
    entry.guest = undefined;
    const left = entry.jobs.filter(({ goesAhead, running }) => goesAhead && !running);
    entry.jobs.splice(0, entry.jobs.length, ...left);
    if (left.length === 0) this.#lanes.delete(lane);
  }

  /** Lets a lane that rests go on at once: what it waits for may have come. */
  wake(lane: string): void {
    const entry = this.#lanes.get(lane);
    if (entry) for (const job of entry.jobs) job.restUntilMs = 0;
  }

  /** Gives every lane that is not resting one step. Returns how many it gave. */
  step(): number {
    let steps = 0;
    for (const [name, lane] of this.#lanes) {
      const job = turnOf(lane, this.#now());
      if (job.restUntilMs > this.#now()) continue;
      steps++;
      this.#stepJob(lane, job);
      if (lane.jobs.length === 0) this.#lanes.delete(name);
    }
    return steps;
  }

  /** How long until a lane wants a step, in ms: 0 for now, undefined for never. */
  nextInMs(): number | undefined {
    let next: number | undefined;
    const now = this.#now();
    for (const lane of this.#lanes.values()) {
      const wait = Math.max(0, turnOf(lane, now).restUntilMs - now);
      if (next === undefined || wait < next) next = wait;
    }
    return next;
  }

  #stepJob(lane: Lane, job: Job): void {
    lane.guest = job === lane.jobs[0] ? undefined : job;
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
    lane.guest = undefined;
    lane.jobs.splice(lane.jobs.indexOf(job), 1);
    job.done(error, result);
  }
}

/** Whose step is next in a lane that has jobs. A guest that has begun ends first: it may be in the middle of something. */
function turnOf({ jobs, guest }: Lane, nowMs: number): Job {
  if (guest) return guest;
  const first = jobs[0];
  if (first.restUntilMs <= nowMs) return first;
  return jobs.find(({ goesAhead }, index) => goesAhead && index > 0) ?? first;
}
