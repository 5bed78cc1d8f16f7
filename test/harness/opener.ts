/**
 * A process that opens one file again and again, making it where it is not there: `node opener.ts <uid> <file>`. Prints a line
 * with what it has met so far, as JSON, for each line of its standard input, and ends with that.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import readline from 'node:readline';
import { setTimeout } from 'node:timers/promises';

export interface Met {
  /** Attempts in all. */
  readonly opens: number;
  /** By the st_dev of what was opened. */
  readonly opened: Readonly<Record<string, number>>;
  /** By the error's code. */
  readonly failed: Readonly<Record<string, number>>;
  /** From the first to the last open on each st_dev, ms since this process began. */
  readonly spans: Readonly<Record<string, readonly [number, number]>>;
}

export class Opener {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(uid: number, file: string) {
    const args = [import.meta.filename, `${uid}`, file];
    this.#process = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const input = this.#process.stdout as NodeJS.ReadableStream;
    this.#lines = readline.createInterface({ input })[Symbol.asyncIterator]();
  }

  /** What it has met until now. */
  async look(): Promise<Met> {
    this.#process.stdin?.write('\n');
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the opener has ended');
    return JSON.parse(value) as Met;
  }

  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await gone;
  }
}

/** Opens between two moments in which it has nothing open, so that a mount can be unmounted. */
const BATCH = 50;
const PAUSE_MS = 1;

async function main(uid: number, file: string): Promise<void> {
  // As root until here: others may not be able to read the checkout.
  if (uid !== 0) {
    process.setgroups?.([]);
    process.setgid?.(uid);
    process.setuid?.(uid);
  }
  // Whom it watches is to get on.
  os.setPriority(os.constants.priority.PRIORITY_LOW);
  const opened: Record<string, number> = {};
  const failed: Record<string, number> = {};
  const spans: Record<string, [number, number]> = {};
  let opens = 0;
  readline.createInterface({ input: process.stdin }).on('line', () => {
    console.log(JSON.stringify({ opens, opened, failed, spans }));
  });
  for (;;) {
    for (let i = 0; i < BATCH; i++) {
      opens++;
      let fd: number | undefined;
      try {
        fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o666);
        const { dev } = fs.fstatSync(fd);
        opened[dev] = (opened[dev] ?? 0) + 1;
        const now = performance.now();
        spans[dev] = [spans[dev]?.[0] ?? now, now];
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? 'none';
        failed[code] = (failed[code] ?? 0) + 1;
      }
      if (fd !== undefined) close(fd);
    }
    await setTimeout(PAUSE_MS);
  }
}

function close(fd: number): void {
  try {
    fs.closeSync(fd);
  } catch {
    // Of a mount that has just died.
  }
}

if (import.meta.main) await main(Number(process.argv[2]), process.argv[3]);
