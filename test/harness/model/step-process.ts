/** An application of the model: a real SQLite in a process of its own, which stops at each of its system calls. */
import { SqlDriver, type StepListener, type Stop } from '../sql-driver.ts';

/**
 * `running`: on its own until its next stop or answer. `asked`: a request has not been handed to it. `stopped`: at a call that it
 * has not been let do. `held`: the mount holds the call back. `idle`: nothing is asked of it.
 */
export type ProcessState = 'running' | 'asked' | 'stopped' | 'held' | 'idle' | 'ended';

export interface StepProcessEvents {
  /** It does not run any more. */
  changed(): void;
  /** The call that it was stopped at has been done, by itself. */
  did(process: StepProcess, result: number): void;
}

export class StepProcess extends SqlDriver {
  readonly #steps: Steps;
  readonly #requests: string[] = [];
  /** Whether it dies when the call that is held back has been done. */
  #isDoomed = false;

  constructor(program: string, { changed, did }: StepProcessEvents) {
    const steps = new Steps(changed, (result) => did(this, result));
    super(program, steps);
    this.#steps = steps;
  }

  get state(): ProcessState {
    const { state } = this.#steps;
    return state === 'idle' && this.#requests.length > 0 ? 'asked' : state;
  }

  /** Where it is stopped or held, or was last. */
  get stop(): Stop {
    return this.#steps.stop as Stop;
  }

  /** Hands it the next request. */
  ask(): void {
    this.#steps.state = 'running';
    super.send(this.#requests.shift() as string);
  }

  /** Lets it do the call, or go on without. */
  resume(how: 'go' | 'done' | { readonly errno: number }): void {
    this.#steps.state = 'running';
    this.go(this.#isDoomed ? 'die' : how);
  }

  hold(): void {
    this.#steps.state = 'held';
  }

  /** A process whose call is held back in the mount does not go before that has been done. */
  override kill(): Promise<string> {
    if (this.state !== 'held') return this.killNow();
    this.#isDoomed = true;
    return this.ended;
  }

  /** Whatever it is at. */
  killNow(): Promise<string> {
    if (this.state !== 'ended') this.#steps.state = 'running';
    return super.kill();
  }

  /** What it closes at its end is told call by call as well. */
  override async end(): Promise<string> {
    await this.close();
    if (this.state !== 'ended') this.#steps.state = 'running';
    return super.end();
  }

  /** A request is a step as any other: two that run at once would answer in any order. */
  protected override send(line: string): void {
    this.#requests.push(line);
  }
}

class Steps implements StepListener {
  state: ProcessState = 'idle';
  stop: Stop | undefined;
  readonly did: (result: number) => void;
  readonly #changed: () => void;

  constructor(changed: () => void, did: (result: number) => void) {
    this.#changed = changed;
    this.did = did;
  }

  stopped(stop: Stop): void {
    this.stop = stop;
    this.#is('stopped');
  }

  answered(): void {
    this.#is('idle');
  }

  ended(): void {
    this.#is('ended');
  }

  #is(state: ProcessState): void {
    this.state = state;
    this.#changed();
  }
}
