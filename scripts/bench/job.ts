/**
 * Applications are processes of their own. A job is a script that takes its options as JSON in its argument, may
 * print `ready`, and prints its result as a line of JSON.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';

export interface Job<T> {
  /** Resolves when it says so, or at its end. */
  readonly ready: Promise<void>;
  /** Rejects when it ends with anything but 0. */
  readonly result: Promise<T>;
  /** Asks it to come to an end: its standard input ends. */
  stop(): void;
}

export function startJob<T>(name: string, options: object): Job<T> {
  const script = path.join(import.meta.dirname, 'jobs', `${name}.ts`);
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let last = '';
  const ready = new Promise<void>((resolve) => {
    child.on('close', () => resolve());
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      if (line === 'ready') resolve();
      else last = line;
    });
  });
  const result = new Promise<T>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      if (status === 0) resolve(JSON.parse(last) as T);
      else reject(new Error(`${name} ended with ${status}`));
    });
  });
  return { ready, result, stop: () => child.stdin.end() };
}

/** Starts it and waits for its result. */
export function runJob<T>(name: string, options: object): Promise<T> {
  return startJob<T>(name, options).result;
}

/** In a job: its options. */
export function jobOptions<T>(): T {
  return JSON.parse(process.argv[2]) as T;
}

/** In a job: does something over and over for `forMs` milliseconds. Returns what each time took, in milliseconds. */
export function timesMs(forMs: number, act: () => void): number[] {
  const tookMs: number[] = [];
  const startedMs = performance.now();
  for (let nowMs = startedMs; nowMs - startedMs < forMs; ) {
    act();
    const doneMs = performance.now();
    tookMs.push(doneMs - nowMs);
    nowMs = doneMs;
  }
  return tookMs;
}
