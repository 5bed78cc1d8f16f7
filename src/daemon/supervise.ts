/**
 * The application that runs beside us: started when the node is ready, sent our signals, its exit status
 * is ours. Several commands run in order; each but the last must succeed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { ExecCommand } from '../config/config.ts';
import { errorText, LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';

/** What the app learns from its environment. */
export interface AppEnvironment {
  readonly LITEFS_DIR: string;
  readonly LITEFS_PRIMARY: string;
  readonly LITEFS_IS_PRIMARY: string;
}

const SIGNAL_EXIT_BASE = 128;
/** As the documents have the config take it from the environment. */
const SECRET_VARIABLE = 'LITEFS_SECRET';

/** An environment without the variables that hold the secret, whatever the config calls them. */
export function withoutSecret(
  env: NodeJS.ProcessEnv,
  secret: string | undefined,
): NodeJS.ProcessEnv {
  const holds = ([name, value]: [string, string | undefined]) =>
    name === SECRET_VARIABLE || (secret !== undefined && value === secret);
  return Object.fromEntries(Object.entries(env).filter((one) => !holds(one)));
}

export class Supervisor {
  readonly #commands: readonly ExecCommand[];
  readonly #environment: AppEnvironment;
  readonly #secret: string | undefined;
  readonly #log: Logger;
  #child: ChildProcess | undefined;
  #stopping = false;

  /** `commands`: those that apply to this node, as configured. `secret`: of the nodes, which they are not to learn. */
  constructor(
    commands: readonly ExecCommand[],
    environment: AppEnvironment,
    secret: string | undefined,
    log: Logger,
  ) {
    this.#commands = commands;
    this.#environment = environment;
    this.#secret = secret;
    this.#log = log;
  }

  /** Runs the commands one after the other. Resolves with the exit status of the one that ended it. */
  async run(): Promise<number> {
    let status = 0;
    for (const { argv } of this.#commands) {
      if (this.#stopping) return status;
      status = await this.#runOne(argv);
      if (status !== 0) return status;
    }
    return status;
  }

  /** Passes a signal on to the command that runs now; no other is started. */
  stop(signal: NodeJS.Signals): void {
    this.#stopping = true;
    this.#child?.kill(signal);
  }

  #runOne(argv: readonly string[]): Promise<number> {
    const [program, ...args] = argv;
    this.#log.info({ command: argv }, `starting ${argv.join(' ')}`);
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, {
        stdio: 'inherit',
        env: { ...withoutSecret(process.env, this.#secret), ...this.#environment },
      });
      this.#child = child;
      child.on('error', (error) => {
        this.#child = undefined;
        reject(
          new LiteFsError('CONFIG', `cannot run ${program}: ${errorText(error)}`, {
            hint: 'Correct the command under exec, or behind -- on the command line.',
            cause: error,
          }),
        );
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
