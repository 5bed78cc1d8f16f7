/**
 * Long work that is done once at a time for each key. A question that comes while it is done is answered by the next run, with
 * all others that came meanwhile: an answer is never of a run that began before the question.
 */
interface Run<T> {
  readonly result: Promise<T>;
  next: Promise<T> | undefined;
}

export class SharedRuns<T> {
  readonly #runs = new Map<string, Run<T>>();
  readonly #work: (key: string) => Promise<T>;

  constructor(work: (key: string) => Promise<T>) {
    this.#work = work;
  }

  /** The result of a run that begins now, or when the present one has ended. Rejects with what the work throws. */
  ask(key: string): Promise<T> {
    const run = this.#runs.get(key);
    if (!run) return this.#start(key);
    const start = () => this.#start(key);
    run.next ??= run.result.then(start, start);
    return run.next;
  }

  #start(key: string): Promise<T> {
    const run: Run<T> = { result: this.#work(key), next: undefined };
    this.#runs.set(key, run);
    const end = () => {
      if (!run.next) this.#runs.delete(key);
    };
    run.result.then(end, end);
    return run.result;
  }
}
