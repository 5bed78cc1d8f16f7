/** Transfers as the main thread sees them: streams at one end, files at the other, a process in between. */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errorText, LiteFsError } from '../errors.ts';
import type { InMount } from './folder.ts';
import type { TransferJob } from './jobs.ts';
import { TRANSFER_COMMAND, type TransferEnd } from './process.ts';

export interface TransferParts {
  readonly mountDir: string;
  /** A local folder for whole databases, emptied at start. */
  readonly spoolDir: string;
  /** Starts one of our own commands, with a channel for messages. */
  readonly startProcess: (command: string) => ChildProcess;
}

/** Each has a copy of a database on the disk. */
const TRANSFERS_MAX = 4;
/** A client that sends nothing for so long, or takes nothing, has gone. */
const SILENCE_MS_MAX = 60_000;

export class Transfers {
  readonly #parts: TransferParts;
  #running = 0;

  constructor(parts: TransferParts) {
    this.#parts = parts;
  }

  /**
   * Sends one state of a database. `begin` is called with its size before the first byte.
   * Rejects with DATABASE_NOT_FOUND, DATABASE_BUSY, DISK, WRONG_STATE when too many are under way.
   */
  export(database: string, begin: (bytes: number) => Writable, signal: AbortSignal): Promise<void> {
    return this.#withFile(async (file) => {
      const from = this.#inMount(database);
      const bytes = await this.#run({ kind: 'export', from, to: file }, signal);
      await move(fs.createReadStream(file), begin(bytes), signal, 'taken: the export');
    });
  }

  /**
   * Takes a database in, as one transaction; resolves with its size. Rejects with DATABASE_CORRUPT for what is no sound
   * database, DATABASE_BUSY, DISK, WRONG_STATE.
   */
  import(database: string, source: Readable, signal: AbortSignal): Promise<number> {
    return this.received(source, signal, (file) => {
      const to = this.#inMount(database);
      return this.#run({ kind: 'import', from: file, to }, signal);
    });
  }

  /** Has all of what is sent in a file, which is gone afterwards. Rejects with DISK, WRONG_STATE as well. */
  received<T>(
    source: Readable,
    signal: AbortSignal,
    work: (file: string) => Promise<T>,
  ): Promise<T> {
    return this.#withFile(async (file) => {
      await receive(source, file, signal);
      return work(file);
    });
  }

  #inMount(name: string): InMount {
    return { dir: this.#parts.mountDir, name };
  }

  async #withFile<T>(work: (file: string) => Promise<T>): Promise<T> {
    if (this.#running >= TRANSFERS_MAX) {
      throw new LiteFsError('WRONG_STATE', `${TRANSFERS_MAX} transfers are under way already`, {
        hint: 'Try again when one of them has ended.',
      });
    }
    this.#running++;
    const file = path.join(this.#parts.spoolDir, `transfer-${randomUUID()}`);
    try {
      return await work(file);
    } finally {
      this.#running--;
      for (const suffix of ['', '-wal', '-shm', '-journal']) {
        await fs.promises.rm(file + suffix, { force: true });
      }
    }
  }

  #start(): ChildProcess {
    try {
      return this.#parts.startProcess(TRANSFER_COMMAND);
    } catch (error) {
      throw notStarted(error);
    }
  }

  /** Ends with the process: then nothing of it is open in the mount. */
  async #run(job: TransferJob, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const child = this.#start();
    const kill = () => void child.kill('SIGKILL');
    signal.addEventListener('abort', kill, { once: true });
    try {
      const end = await endOf(child, job);
      signal.throwIfAborted();
      if ('bytes' in end) return end.bytes;
      const { code, message, hint } = end.error;
      throw code ? new LiteFsError(code, message, { hint }) : new Error(message);
    } finally {
      signal.removeEventListener('abort', kill);
    }
  }
}

/** Most reasons come as an event, some are thrown. */
function notStarted(error: unknown): LiteFsError {
  return new LiteFsError(
    'WRONG_STATE',
    `no process can be started for the transfer: ${errorText(error)}`,
    { hint: 'Is the machine out of memory or of processes? Try again.', cause: error },
  );
}

/** Gives a process its job; resolves with what it says of it, once it has ended. */
function endOf(child: ChildProcess, job: TransferJob): Promise<TransferEnd> {
  return new Promise((resolve, reject) => {
    let end: TransferEnd | undefined;
    child.on('message', (message: TransferEnd) => {
      end = message;
    });
    child.on('error', (error) => {
      // Also when the job cannot be sent, as the process has ended: then its end is what counts.
      if (child.pid === undefined) reject(notStarted(error));
    });
    // Not `exit`: its last message may still be on its way then.
    child.on('close', (status, signal) => {
      if (end) return resolve(end);
      const how = signal ? `by ${signal}` : `with status ${status}`;
      const text = `the transfer's process was ended ${how}`;
      reject(new LiteFsError('WRONG_STATE', text, { hint: 'Try again; the log may say more.' }));
    });
    // Without a process there is no channel either.
    child.send?.(job, () => {});
  });
}

/** Writes what comes to a file. The source is left open: who sends it is still to be told what became of it. */
async function receive(source: Readable, file: string, signal: AbortSignal): Promise<void> {
  const out = fs.createWriteStream(file, { flags: 'wx', mode: 0o600 });
  const through = source.pipe(new PassThrough());
  try {
    await move(through, out, signal, 'sent: the import');
  } catch (error) {
    if (!signal.aborted && (error as NodeJS.ErrnoException).syscall === 'write') {
      throw new LiteFsError('DISK', `cannot keep what is sent: ${errorText(error)}`, {
        hint: 'Free space on the disk of data.dir.',
        cause: error,
      });
    }
    throw error;
  } finally {
    source.unpipe(through);
  }
}

/** All of one into the other. Rejects with PEER_UNREACHABLE when nothing has moved for long; `what`: and what is given up. */
async function move(
  source: Readable,
  into: Writable,
  signal: AbortSignal,
  what: string,
): Promise<void> {
  const silence = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS_MAX);
  };
  source.on('data', heard);
  heard();
  try {
    await pipeline(source, into, { signal: AbortSignal.any([signal, silence.signal]) });
  } catch (error) {
    if (!silence.signal.aborted) throw error;
    const text = `nothing more was ${what} is given up after ${SILENCE_MS_MAX / 1000} s`;
    throw new LiteFsError('PEER_UNREACHABLE', text);
  } finally {
    clearTimeout(timer);
    source.off('data', heard);
  }
}
