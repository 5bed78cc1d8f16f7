/** Real mounts for the tests, each served by a thread of its own, and always taken away again. */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { DeferredOperation, TreeEvent } from '../../src/fuse/policy.ts';
import { mountFuse, unmount } from '../../src/os/mounts.ts';
import { createEventFd, signalEventFd } from '../../src/os/poll.ts';
import { getxattrExists } from '../../src/os/xattr.ts';
import { baseFor } from '../harness/memory.ts';
import type { FuseMessage, FuseScript } from './fuse-worker.ts';

export const MODES = ['auto', 'off'] as const;

export class FuseMount {
  /** The mount point. */
  readonly dir: string;
  /** The directory that it mirrors. */
  readonly backing: string;
  readonly passthrough: boolean;
  readonly events: TreeEvent[] = [];
  readonly deferred: DeferredOperation[] = [];
  #atEnd: ((counters: Record<string, number>) => void) | undefined;
  readonly #wake = new Set<() => void>();

  /** Ends the server, and leaves the mount dead. */
  readonly die: () => Promise<void>;

  constructor(
    dir: string,
    backing: string,
    worker: Worker,
    passthrough: boolean,
    die: () => Promise<void>,
  ) {
    this.die = die;
    this.dir = dir;
    this.backing = backing;
    this.passthrough = passthrough;
    worker.on('message', (message: FuseMessage) => this.#take(message));
  }

  #take(message: FuseMessage): void {
    if (message.kind === 'event') this.events.push(message.event);
    if (message.kind === 'deferred') this.deferred.push(message.operation);
    if (message.kind === 'ended') this.#atEnd?.(message.counters);
    for (const wake of this.#wake) wake();
  }

  /** Has a look at how many requests of each kind there were, once the mount is gone. */
  atEnd(look: (counters: Record<string, number>) => void): void {
    this.#atEnd = look;
  }

  /** Waits until the serving thread has told so much that `found` has a result. */
  until<T>(found: () => T | undefined): Promise<T> {
    return new Promise((resolve) => {
      const look = () => {
        const result = found();
        if (result === undefined) return;
        this.#wake.delete(look);
        resolve(result);
      };
      this.#wake.add(look);
      look();
    });
  }

  /** Waits for the next held operation, and takes it. */
  nextDeferred(): Promise<DeferredOperation> {
    return this.until(() => this.deferred.shift());
  }

  /** Lets a held operation go on, or refuses it. */
  resume(token: bigint, errno = 0): void {
    getxattrExists(this.dir, `user.litefs-lite.resume.${token}-${errno}`);
  }

  /** Runs a shell script in the mount: `$1`... are `args`. @returns what it printed */
  async sh(script: string, ...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)('sh', ['-euc', script, 'sh', ...args], {
      cwd: this.dir,
      encoding: 'latin1',
    });
    return stdout;
  }
}

/** Mounts a new, empty tree, and hands it to `body`. */
export async function withMount(
  script: Partial<FuseScript>,
  body: (mount: FuseMount) => Promise<void>,
): Promise<void> {
  const { passthrough = 'auto' } = script;
  const folder = fs.mkdtempSync(path.join(baseFor(passthrough), 'litefs-lite-'));
  fs.chmodSync(folder, 0o755);
  const dir = path.join(folder, 'mount');
  const backing = path.join(folder, 'backing');
  fs.mkdirSync(dir);
  fs.mkdirSync(backing);
  const device = fs.openSync('/dev/fuse', 'r+');
  mountFuse(dir, device, { allowOther: true, fsName: 'litefs-lite' });
  const stop = createEventFd();
  const full: FuseScript = { passthrough, defer: [], virtual: {}, ...script };
  const worker = new Worker(new URL('fuse-worker.ts', import.meta.url), {
    workerData: { script: full, device, backingRoot: backing, stop },
  });
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const failed = new Promise<never>((_, reject) => worker.once('error', reject));
  /** Ends serving, whether or not the mount is still there. */
  let isOver = false;
  const end = async () => {
    if (isOver) return;
    isOver = true;
    signalEventFd(stop);
    await exited;
    fs.closeSync(device);
    fs.closeSync(stop);
  };
  try {
    const started = new Promise<FuseMessage>((resolve) => worker.once('message', resolve));
    const first = await Promise.race([started, failed]);
    if (first.kind !== 'started') throw new Error('the thread did not start to serve');
    const mount = new FuseMount(dir, backing, worker, first.passthrough, end);
    await Promise.race([body(mount), failed]);
    if (!isOver && !unmount(dir)) throw new Error('the mount is still in use');
    if (!isOver) await exited;
  } finally {
    unmount(dir, { detach: true });
    await end();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
