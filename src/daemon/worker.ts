/** Starting a worker thread: from its source in a checkout, from the text inside it in the executable. */
import { getAsset, isSea } from 'node:sea';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { shareAddons } from '../os/addons.ts';

/** Folders of src whose worker.ts is a thread. */
export type WorkerName = 'engine' | 'mount' | 'snapshots';

/** What these threads make is short-lived: a small nursery keeps the daemon small. */
const YOUNG_MIB = 8;

/** Starts one. Its descriptors are its own affair. */
export function startWorker(
  name: WorkerName,
  options: Pick<WorkerOptions, 'workerData' | 'transferList'>,
): Worker {
  const all: WorkerOptions = {
    ...options,
    name,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    trackUnmanagedFds: false,
  };
  if (!isSea()) return new Worker(new URL(`../${name}/worker.ts`, import.meta.url), all);
  shareAddons();
  return new Worker(getAsset(`${name}.cjs`, 'utf8'), { ...all, eval: true });
}
