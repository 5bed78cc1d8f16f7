/** The thread of withLimit() in watchdog.ts. It says what it has found by itself: the main thread may never say anything again. */
import fs from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { endRound, Verdict } from './watchdog.ts';

const { title, limitMs, dir, isSaid, verdict } = workerData as {
  readonly title: string;
  readonly limitMs: number;
  readonly dir: string | undefined;
  readonly isSaid: boolean;
  readonly verdict: Int32Array<SharedArrayBuffer>;
};

setTimeout(() => {
  if (!new Verdict(verdict).decide('has no end')) return;
  const report = endRound({ title, limitMs, dir }, process.pid);
  if (isSaid) fs.writeSync(2, `${report}\n`);
  parentPort?.postMessage(report);
}, limitMs);
