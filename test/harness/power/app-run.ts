/** An application for power cuts (app.ts) as it runs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { AppSettings } from './app.ts';

const APP = path.resolve(import.meta.dirname, 'app.ts');
const COMMITS_MS_MAX = 60_000;

export function appCommand(settings: AppSettings): string[] {
  return [process.execPath, APP, JSON.stringify(settings)];
}

export class AppRun {
  readonly pid: number;
  /** Resolves with its status, null after a signal. */
  readonly status: Promise<number | null>;
  readonly #process: ChildProcess;
  #commits = 0;
  #errors = '';
  #look = () => {};

  constructor(settings: AppSettings) {
    const [command, ...args] = appCommand(settings);
    this.#process = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.pid = this.#process.pid as number;
    this.status = once(this.#process, 'close').then(([status]) => status as number | null);
    this.#process.stdout?.on('data', (dots: Buffer) => {
      this.#commits += dots.length;
      this.#look();
    });
    this.#process.stderr?.on('data', (text) => {
      this.#errors += text;
    });
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** What it said when it failed. */
  get errors(): string {
    return this.#errors;
  }

  /** Resolves when it has made so many commits from now on. Rejects when it ends before, or takes too long. */
  async makes(commits: number): Promise<void> {
    const wanted = this.#commits + commits;
    let timer: NodeJS.Timeout | undefined;
    const made = new Promise<void>((resolve, reject) => {
      this.#look = () => {
        if (this.#commits >= wanted) resolve();
      };
      timer = setTimeout(() => reject(new Error('the application hangs')), COMMITS_MS_MAX);
    });
    const ended = this.status.then((status) => {
      throw new Error(`the application ended with ${status}: ${this.#errors}`);
    });
    try {
      await Promise.race([made, ended]);
    } finally {
      clearTimeout(timer);
      ended.catch(() => {});
      this.#look = () => {};
    }
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.isRunning) this.#process.kill(signal);
    await this.status;
  }
}
