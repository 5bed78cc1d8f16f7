/**
 * The application that runs beside us: started when the node is ready, sent our signals, its exit status
 * is ours. Several commands run in order; each but the last must succeed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { errorText, LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { programIn } from '../os/programs.ts';
import { type App, type AppFacts, commandOf, environmentOf } from './apps.ts';

const SIGNAL_EXIT_BASE = 128;

export class Supervisor {
  readonly #apps: readonly App[];
  readonly #facts: AppFacts;
  readonly #log: Logger;
  #child: ChildProcess | undefined;
  #stopping = false;

  /** `apps`: those of this node, in order. */
  constructor(apps: readonly App[], facts: AppFacts, log: Logger) {
    this.#apps = apps;
    this.#facts = facts;
    this.#log = log;
  }

  /** Runs the commands one after the other. Resolves with the exit status of the one that ended it. */
  async run(): Promise<number> {
    let status = 0;
    for (const app of this.#apps) {
      if (this.#stopping) return status;
      status = await this.#runOne(app);
      if (status !== 0) return status;
    }
    return status;
  }

  /** Passes a signal on to the command that runs now; no other is started. */
  stop(signal: NodeJS.Signals): void {
    this.#stopping = true;
    this.#child?.kill(signal);
  }

  #runOne(app: App): Promise<number> {
    const { argv, login } = app;
    const [program] = argv;
    const who = login ? ` as user ${login.name ?? login.uid}` : '';
    this.#log.info({ command: argv }, `starting ${argv.join(' ')}${who}`);
    return new Promise((resolve, reject) => {
      const [file, ...args] = commandOf(app);
      const env = environmentOf(app, process.env, this.#facts);
      // With a user it is setpriv that is run, and would end as an app does that has failed.
      if (login && programIn(env.PATH ?? '', program) === undefined) {
        throw cannotRun(program, 'there is no such program', undefined);
      }
      const child = spawn(file, args, { stdio: 'inherit', env });
      this.#child = child;
      child.on('error', (error) => {
        this.#child = undefined;
        reject(cannotRun(program, errorText(error), error));
      });
      child.on('exit', (code, signal) => {
        this.#child = undefined;
        const status = code ?? SIGNAL_EXIT_BASE + (signal ? constants.signals[signal] : 0);
        const how = signal ? `was ended by ${signal}` : `exited with status ${status}`;
        if (!this.#stopping) this.#log.info({ command: argv, status }, `${program} ${how}`);
        resolve(status);
      });
    });
  }
}

function cannotRun(program: string, why: string, cause: Error | undefined): LiteFsError {
  return new LiteFsError('CONFIG', `cannot run ${program}: ${why}`, {
    hint: 'Correct the command under exec, or behind -- on the command line.',
    cause,
  });
}
