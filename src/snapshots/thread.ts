/** The snapshot thread as the main thread sees it: started when there is work, gone a minute after the last of it. */
import type { Worker } from 'node:worker_threads';
import { type ErrorCode, LiteFsError } from '../errors.ts';
import type { SnapshotTasks } from './tasks.ts';

export type TaskName = keyof SnapshotTasks;
type Args<K extends TaskName> = Parameters<SnapshotTasks[K]>[0];
type Result<K extends TaskName> = ReturnType<SnapshotTasks[K]>;

/** Runs tasks, wherever that is. */
export type RunTask = <K extends TaskName>(
  task: K,
  args: Args<K>,
  transfer?: ArrayBuffer[],
) => Promise<Result<K>>;

export interface SnapshotWorkerData {
  readonly nice: number;
  /** Bytes per second that it may read; 0: no limit. */
  readonly rateMax: number;
}

export interface TaskRequest {
  readonly id: number;
  readonly task: TaskName;
  readonly args: Args<TaskName>;
}

export interface TaskReply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: {
    readonly code: ErrorCode | undefined;
    readonly message: string;
    readonly hint: string | undefined;
  };
}

const IDLE_MS = 60_000;

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class SnapshotThread {
  readonly #start: () => Worker;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #nextId = 1;
  #closed = false;

  constructor(start: () => Worker) {
    this.#start = start;
  }

  readonly run: RunTask = (task, args, transfer = []) => {
    // A run that goes on while the node stops must not start it anew: the process would not end.
    if (this.#closed) return Promise.reject(ended());
    clearTimeout(this.#idle);
    this.#worker ??= this.#begin();
    const id = this.#nextId++;
    const request: TaskRequest = { id, task, args };
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      worker.postMessage(request, transfer);
    });
  };

  /** Ends it at once: files that were being written keep their temporary names. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#idle);
    await this.#worker?.terminate();
  }

  #begin(): Worker {
    const worker = this.#start();
    worker.on('message', (reply: TaskReply) => this.#settle(reply));
    worker.on('error', (error) => this.#fail(error as Error));
    worker.on('exit', () => {
      this.#worker = undefined;
      this.#fail(ended());
    });
    return worker;
  }

  #settle({ id, result, error }: TaskReply): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (error === undefined) pending?.resolve(result);
    else if (error.code === undefined) pending?.reject(new Error(error.message));
    else pending?.reject(new LiteFsError(error.code, error.message, { hint: error.hint }));
    if (this.#pending.size > 0) return;
    this.#idle = setTimeout(() => void this.#worker?.terminate(), IDLE_MS).unref();
  }

  #fail(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

function ended(): LiteFsError {
  return new LiteFsError('WRONG_STATE', 'the snapshot thread has ended');
}
