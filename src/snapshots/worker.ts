/** The snapshot thread: tasks one after the other, with little claim to the processor. */
import { parentPort, workerData } from 'node:worker_threads';
import { LiteFsError } from '../errors.ts';
import { setThreadNice } from '../os/priority.ts';
import { pace } from './pace.ts';
import { snapshotTasks } from './tasks.ts';
import type { SnapshotWorkerData, TaskReply, TaskRequest } from './thread.ts';

const { nice, rateMax } = workerData as SnapshotWorkerData;
setThreadNice(nice);
pace.limit(rateMax);
const tasks = snapshotTasks();

parentPort?.on('message', ({ id, task, args }: TaskRequest) => {
  let reply: TaskReply;
  try {
    const run = tasks[task] as (args: unknown) => unknown;
    reply = { id, result: run(args) };
  } catch (error) {
    reply = { id, error: described(error) };
  }
  parentPort?.postMessage(reply);
});

function described(error: unknown): TaskReply['error'] {
  if (error instanceof LiteFsError) {
    return { code: error.code, message: error.message, hint: error.hint };
  }
  const stack = error instanceof Error ? error.stack : undefined;
  return { code: undefined, message: stack ?? `${error}`, hint: undefined };
}
