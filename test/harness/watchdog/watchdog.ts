/**
 * The limit of a round that does not end. A thread of its own keeps the time: who waits for a mount in a system call keeps none.
 * At the limit it says where each process that this one has started is stuck, kills them all, and ends their mounts; then
 * the round fails, whatever it was waiting for.
 */
import { Worker } from 'node:worker_threads';
import { descendantsOf, endAll, whereIs } from './stuck.ts';

export interface Limit {
  /** The round, with its seed. */
  readonly title: string;
  /** After which it does not end any more; ms. */
  readonly limitMs: number;
  /** Where its mounts are. */
  readonly dir?: string;
  /** Told what was found at the limit. Default: standard error. */
  readonly told?: (report: string) => void;
}

/** Whether a round ended or was ended: what comes first, in either thread, is what holds. */
export class Verdict {
  readonly shared: Int32Array<SharedArrayBuffer>;

  constructor(shared = new Int32Array(new SharedArrayBuffer(4))) {
    this.shared = shared;
  }

  /** Whether it is so. */
  decide(wanted: 'ended' | 'has no end'): boolean {
    const value = wanted === 'ended' ? 1 : 2;
    const before = Atomics.compareExchange(this.shared, 0, 0, value);
    return before === 0 || before === value;
  }
}

/** That a round had no end. */
export class RoundTimeout extends Error {}

/** After the limit, for what is left of the round to see that all has gone. */
const GRACE_MS = 10_000;

/** Runs a round. Rejects with RoundTimeout when it has not ended within its limit: by then nothing of it runs any more. */
export async function withLimit<T>(limit: Limit, run: () => Promise<T>): Promise<T> {
  const { title, limitMs, dir, told } = limit;
  const fired = Promise.withResolvers<string>();
  const verdict = new Verdict();
  const worker = new Worker(new URL('./watchdog-thread.ts', import.meta.url), {
    workerData: { title, limitMs, dir, isSaid: told === undefined, verdict: verdict.shared },
  });
  worker.on('message', (report: string) => fired.resolve(report));
  worker.on('error', (error) => fired.reject(error));
  const round = run();
  const settled = round.then(
    () => {},
    () => {},
  );
  try {
    await Promise.race([fired.promise, settled]);
    if (verdict.decide('ended')) return await round;
    // What the round says of itself, now that its processes are being killed, is nothing.
    const report = await fired.promise;
    told?.(report);
    await settledWithin(round, GRACE_MS);
    throw new RoundTimeout(`it has not ended within ${limitMs / 1000} s`);
  } finally {
    await worker.terminate();
  }
}

/** The timer keeps the process: with all that it waited for gone, there may be nothing else that does. */
async function settledWithin(round: Promise<unknown>, ms: number): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  await Promise.race([round.catch(() => {}), late.promise]);
  clearTimeout(timer);
}

/** What is found at the limit, and the end of all of it. */
export function endRound({ title, limitMs, dir }: Omit<Limit, 'told'>, pid: number): string {
  const pids = descendantsOf(pid);
  const lines = [pid, ...pids].flatMap(whereIs);
  endAll(pids, dir);
  return [
    `STUCK   ${title}: no end within ${limitMs / 1000} s`,
    ...lines.map((line) => `        ${line}`),
  ].join('\n');
}
