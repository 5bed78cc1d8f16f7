/** The thread that serves a mount in the tests, with a policy that goes by names and by a script. */
import path from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import type {
  DeferredOperation,
  TreeEvent,
  TreePolicy,
  Verdict,
  VirtualFile,
} from '../../src/fuse/policy.ts';
import { FuseSession } from '../../src/fuse/session.ts';

export interface FuseScript {
  readonly passthrough: 'auto' | 'off';
  /** Kinds of operations to defer, on files whose names begin with `held`. */
  readonly defer: readonly DeferredOperation['kind'][];
  /** Virtual files by path: what their attributes tell, and what an open finds. */
  readonly virtual: Readonly<Record<string, { readonly told: string; readonly found: string }>>;
}

export type FuseMessage =
  | { readonly kind: 'started'; readonly passthrough: boolean }
  | { readonly kind: 'event'; readonly event: TreeEvent }
  | { readonly kind: 'deferred'; readonly operation: DeferredOperation }
  | { readonly kind: 'ended'; readonly counters: Record<string, number> };

const RESUME = /^user\.litefs-lite\.resume\.(\d+)-(\d+)$/;
const EACCES = 13;

/** Refuses what has `denied` in its name. */
class ScriptedPolicy implements TreePolicy {
  readonly #script: FuseScript;
  readonly #send: (message: FuseMessage) => void;

  constructor(script: FuseScript, send: (message: FuseMessage) => void) {
    this.#script = script;
    this.#send = send;
  }

  virtual(file: string): VirtualFile | undefined {
    const virtual = this.#script.virtual[file];
    return virtual && { content: Buffer.from(virtual.told), mtimeMs: 1_600_000_000_500 };
  }

  openVirtual(file: string, resumed: boolean): VirtualFile | 'defer' {
    if (!resumed && this.#defers('open', file)) return 'defer';
    const content = Buffer.from(this.#script.virtual[file].found + (resumed ? ' resumed' : ''));
    return { content, mtimeMs: 0 };
  }

  virtualNames(dir: string, names: readonly string[]): string[] {
    if (names.includes('.') || names.includes('..')) throw new Error('dots are no files');
    const inDir = (file: string) => path.dirname(`/${file}`) === `/${dir}`;
    return Object.keys(this.#script.virtual)
      .filter(inDir)
      .map((file) => path.basename(file));
  }

  isAbsenceLasting(file: string): boolean {
    return file.endsWith('-journal');
  }

  mayPassthrough(file: string): boolean {
    return !file.endsWith('-journal');
  }

  open(file: string): number {
    return file.includes('denied') ? EACCES : 0;
  }

  notPassed(): void {}

  link(): number {
    return 0;
  }

  create(file: string): number {
    return file.includes('denied') ? EACCES : 0;
  }

  setattr(file: string): number {
    return file.includes('denied') ? EACCES : 0;
  }

  write(file: string): Verdict {
    return this.#verdict('write', file);
  }

  truncate(file: string): Verdict {
    return this.#verdict('truncate', file);
  }

  unlink(file: string): Verdict {
    return this.#verdict('unlink', file);
  }

  rename(file: string): Verdict {
    return this.#verdict('rename', file);
  }

  fsync(file: string): Verdict {
    return this.#verdict('fsync', file);
  }

  #verdict(kind: DeferredOperation['kind'], file: string): Verdict {
    if (file.includes('denied')) return EACCES;
    return this.#defers(kind, file) ? 'defer' : 0;
  }

  #defers(kind: DeferredOperation['kind'], file: string): boolean {
    return this.#script.defer.includes(kind) && path.basename(file).startsWith('held');
  }

  deferred(operation: DeferredOperation): void {
    this.#send({ kind: 'deferred', operation });
  }

  resumed(name: string): { token: bigint; errno: number } | undefined {
    const match = RESUME.exec(name);
    return match ? { token: BigInt(match[1]), errno: Number(match[2]) } : undefined;
  }

  event(event: TreeEvent): void {
    this.#send({ kind: 'event', event });
  }
}

const { script, device, backingRoot, stop } = workerData as {
  script: FuseScript;
  device: number;
  backingRoot: string;
  stop: number;
};
const send = (message: FuseMessage) => parentPort?.postMessage(message);
const session = new FuseSession({
  device,
  backingRoot,
  policy: new ScriptedPolicy(script, send),
  passthrough: script.passthrough,
  stop,
});
send({ kind: 'started', ...session.start() });
session.run();
send({ kind: 'ended', counters: session.counters });
