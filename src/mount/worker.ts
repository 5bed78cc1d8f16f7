/** The mount's thread: serves /dev/fuse until the file system is unmounted. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { MountMessage } from '../engine/protocol.ts';
import { FuseSession } from '../fuse/session.ts';
import { separateDescriptors } from '../os/descriptors.ts';
import { signalEventFd } from '../os/poll.ts';
import { nameMatcher } from '../patterns.ts';
import { encodeName } from '../store/layout.ts';
import { SharedState } from './shared-state.ts';
import { SqlitePolicy } from './sqlite-policy.ts';

export interface MountWorkerData {
  /** /dev/fuse, with the mount made; it belongs to this thread from `started` on. */
  readonly device: number;
  /** An eventfd that ends the service. */
  readonly stop: number;
  readonly treeRoot: string;
  readonly cutsDir: string;
  readonly passthrough: 'auto' | 'on' | 'off';
  readonly debug: boolean;
  /** Patterns of the names that are replicated; undefined for all. */
  readonly databases: readonly string[] | undefined;
  readonly shared: SharedArrayBuffer;
  readonly engine: MessagePort;
  readonly engineEventFd: number;
}

export type MountNews =
  | { readonly kind: 'started'; readonly passthrough: boolean }
  | { readonly kind: 'ended' }
  | { readonly kind: 'failed'; readonly message: string; readonly stack: string | undefined };

const data = workerData as MountWorkerData;

function post(news: MountNews): void {
  parentPort?.postMessage(news);
}

try {
  // Before we open anything: it would stay open in the table of the others.
  separateDescriptors();
  const shared = new SharedState(data.shared);
  const isWanted = nameMatcher(data.databases);
  const policy = new SqlitePolicy({
    treeRoot: data.treeRoot,
    cutsDir: data.cutsDir,
    shared,
    replicates: (name) => isWanted(name) && encodeName(name) !== undefined,
    send(message: MountMessage) {
      data.engine.postMessage(message);
      signalEventFd(data.engineEventFd);
    },
  });
  const session = new FuseSession({
    device: data.device,
    backingRoot: data.treeRoot,
    policy,
    passthrough: data.passthrough,
    stop: data.stop,
    counts: shared.requestCounts,
    debug: data.debug ? (line) => process.stderr.write(`fuse: ${line}\n`) : undefined,
  });
  const { passthrough } = session.start();
  shared.passesAll = passthrough;
  post({ kind: 'started', passthrough });
  session.run();
  post({ kind: 'ended' });
} catch (error) {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  post({ kind: 'failed', message, stack });
} finally {
  data.engine.close();
}
