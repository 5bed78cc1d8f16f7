/** A node of the model: its engine, and what its mount would do for the applications that have its databases open. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import type { Outside } from '../../../src/engine/engine.ts';
import type { EngineNews } from '../../../src/engine/protocol.ts';
import type { DeferredOperation, TreeEvent, Verdict } from '../../../src/fuse/policy.ts';
import { parseResumeName } from '../../../src/mount/names.ts';
import { SharedState } from '../../../src/mount/shared-state.ts';
import { SqlitePolicy } from '../../../src/mount/sqlite-policy.ts';
import { errno } from '../../../src/os/libc.ts';
import { layoutOf } from '../../../src/store/layout.ts';
import { EngineStand } from '../engine-stand.ts';
import type { Stop } from '../sql-driver.ts';
import { StepProcess } from './step-process.ts';

export interface ModelNodeParts {
  /** The data directory. */
  readonly dir: string;
  readonly role: 'primary' | 'replica';
  readonly outside: Omit<Outside, 'hasAttribute'>;
  /** Told what happens, a line each. */
  readonly trace: (line: string) => void;
  /** Some process does not run any more. */
  readonly changed: () => void;
  readonly news: (news: EngineNews) => void;
}

export class ModelNode {
  /** Operations that were held back. */
  held = 0;
  /** Whether its daemon is there. */
  isUp = false;
  readonly #parts: ModelNodeParts;
  readonly #tree: string;
  readonly #processes: StepProcess[] = [];
  readonly #held = new Map<bigint, StepProcess>();
  /** Descriptors of each process that may write, by number. */
  readonly #writable = new Map<StepProcess, Map<number, string>>();
  /** Whose open under way makes a file. */
  readonly #making = new Set<StepProcess>();
  #stand: EngineStand;
  #policy: SqlitePolicy;
  #nextToken = 1n;

  constructor(parts: ModelNodeParts) {
    this.#parts = parts;
    this.#tree = layoutOf(parts.dir).tree;
    [this.#stand, this.#policy] = this.#make();
  }

  /** Its engine. Another one after a restart. */
  get stand(): EngineStand {
    return this.#stand;
  }

  get processes(): readonly StepProcess[] {
    return this.#processes;
  }

  /** Those that can take a step. */
  get ready(): StepProcess[] {
    if (!this.isUp) return [];
    return this.#processes.filter(({ state }) => state === 'stopped' || state === 'asked');
  }

  file(name: string): string {
    return path.join(this.#tree, name);
  }

  /** Starts the daemon; whoever has the engine work is told when it is there. */
  async start(): Promise<void> {
    this.#stand.engine.recover();
    await this.#stand.answer('attach', {});
    this.isUp = true;
  }

  /** The daemon ends, in order, and is started anew. No application may run. */
  async restart(): Promise<void> {
    await this.#stand.answer('detach', {});
    await this.#stand.answer('stop', { isUnused: true });
    this.isUp = false;
    this.closeFiles();
    [this.#stand, this.#policy] = this.#make();
    await this.start();
  }

  /** The daemon is killed, and with its mount go all that have it open. Then it is started anew. */
  async crash(): Promise<void> {
    this.#parts.trace('the daemon is killed');
    this.isUp = false;
    this.#held.clear();
    // One after the other, in the same order each time; who waits for one starts another, for when the daemon is back.
    for (const process of [...this.#processes]) await process.killNow();
    this.closeFiles();
    [this.#stand, this.#policy] = this.#make();
    await this.start();
  }

  /** Starts an application, for one database. */
  drive(program: string, name: string): StepProcess {
    const process = new StepProcess(program, {
      changed: this.#parts.changed,
      did: (which, result) => this.#did(which, result),
    });
    this.#processes.push(process);
    this.#writable.set(process, new Map());
    process.step(this.file(name));
    process.ended.then(() => this.#gone(process));
    return process;
  }

  /** Hands a process its request, or lets it do the call that it has stopped at, if the mount would. */
  advance(process: StepProcess): void {
    if (process.state === 'asked') {
      process.ask();
      return;
    }
    const verdict = this.#judge(process);
    this.#trace(process, `${describeStop(process.stop)}: ${verdict}`);
    if (verdict === 0) process.resume('go');
    else if (verdict === 'keep') process.resume('done');
    else if (verdict !== 'defer') process.resume({ errno: verdict });
    else {
      process.hold();
      this.held++;
      const token = this.#nextToken++;
      this.#held.set(token, process);
      this.#policy.deferred({ ...this.#operation(process), token });
    }
  }

  /** As the kernel does when a process ends: the locks of what it had open go, too. */
  closeFiles(): void {
    for (const fd of fs.readdirSync('/proc/self/fd')) {
      try {
        const file = fs.readlinkSync(`/proc/self/fd/${fd}`);
        if (file.startsWith(`${this.#tree}/`)) fs.closeSync(Number(fd));
      } catch (error) {
        // The one that lists them.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  }

  #make(): [EngineStand, SqlitePolicy] {
    const { dir, role, outside, news } = this.#parts;
    const shared = new SharedState();
    shared.role = role;
    const stand: EngineStand = new EngineStand(
      dir,
      { role, strictVerify: false, shared: shared.buffer },
      { ...outside, hasAttribute: (_, name) => this.#resumed(name) },
    );
    stand.onNews = news;
    const policy = new SqlitePolicy({
      treeRoot: this.#tree,
      cutsDir: layoutOf(dir).cuts,
      shared,
      replicates: () => true,
      send: (message) => this.#stand.engine.mountMessage(message),
    });
    return [stand, policy];
  }

  #judge(process: StepProcess): Verdict | 'keep' {
    const { call, at, size, data } = process.stop;
    const name = this.#nameOf(process);
    if (name === undefined) return 0;
    const caller = { pid: process.pid, uid: 0, gid: 0 };
    switch (call) {
      case 'open': {
        const isMade = (at & fs.constants.O_CREAT) !== 0 && !fs.existsSync(this.file(name));
        const verdict = isMade
          ? this.#policy.create(name, caller)
          : this.#policy.open(name, at, caller);
        if (isMade && verdict === 0) this.#making.add(process);
        return verdict;
      }
      case 'write': {
        // Others are passed through.
        if (!this.#policy.mayPassthrough(name, caller)) {
          const bytes = Buffer.alloc(size);
          data.copy(bytes);
          return this.#policy.write(name, at, bytes, caller);
        }
        return 0;
      }
      case 'truncate':
        return this.#policy.truncate(name, size, caller);
      case 'unlink':
        return this.#policy.unlink(name, caller);
      case 'sync': {
        const fd = fs.openSync(this.file(name), 'r');
        try {
          return this.#policy.fsync(name, fd, caller);
        } finally {
          fs.closeSync(fd);
        }
      }
      default:
        return 0;
    }
  }

  #operation(process: StepProcess): Omit<DeferredOperation, 'token'> {
    const { call, at, size, data } = process.stop;
    const path = this.#nameOf(process) as string;
    switch (call) {
      case 'sync':
        return { kind: 'fsync', path };
      case 'write':
        return { kind: 'write', path, offset: at, data };
      case 'truncate':
        return { kind: 'truncate', path, size };
      default:
        assert(call === 'unlink');
        return { kind: 'unlink', path };
    }
  }

  /** As the mount does it: the operation is done before the engine goes on. */
  #resumed(name: string): boolean {
    const how = parseResumeName(name);
    const process = how && this.#held.get(how.token);
    if (!how || !process) return false;
    this.#held.delete(how.token);
    const isDone = how.errno === 0 || how.perform === true;
    this.#trace(process, `goes on with ${describeStop(process.stop)}: ${how.errno}`);
    const failed = isDone ? this.#perform(process) : 0;
    const error = how.errno || failed;
    process.resume(error === 0 ? 'done' : { errno: error });
    return true;
  }

  /** Returns an error number; 0 when it is done. */
  #perform(process: StepProcess): number {
    const { call, at, size, data } = process.stop;
    const name = this.#nameOf(process);
    if (name === undefined) return 0;
    const file = this.file(name);
    // Another process has removed it meanwhile.
    if (call === 'unlink' && !fs.existsSync(file)) return errno.ENOENT;
    if (call === 'unlink') fs.unlinkSync(file);
    else if (call === 'truncate') fs.truncateSync(file, size);
    else if (call === 'write') {
      const fd = fs.openSync(file, 'r+');
      fs.writeSync(fd, data, 0, size, at);
      fs.closeSync(fd);
    }
    this.#tell(process, name);
    return 0;
  }

  /** A process has done its call itself. */
  #did(process: StepProcess, result: number): void {
    const { call, at } = process.stop;
    const isMade = this.#making.delete(process);
    if (call === 'lock' && result < 0) this.#trace(process, 'does not get it');
    const name = this.#nameOf(process);
    if (result < 0 || name === undefined) return;
    if (call === 'open') {
      const mayWrite = (at & 3) !== fs.constants.O_RDONLY;
      if (mayWrite) this.#writable.get(process)?.set(result, name);
      if (isMade) this.#policy.event({ kind: 'created', path: name, isFile: true });
    } else if (call === 'close') {
      // Which of several it was makes no difference.
      const open = this.#writable.get(process);
      const [fd] = [...(open ?? [])].find(([, one]) => one === name) ?? [];
      if (fd !== undefined && open?.delete(fd)) this.#released(process, name);
    } else this.#tell(process, name);
  }

  #tell(process: StepProcess, path: string): void {
    const { call, size } = process.stop;
    let event: TreeEvent | undefined;
    if (call === 'unlink') event = { kind: 'removed', path };
    if (call === 'truncate') event = { kind: 'truncated', path, size, pid: process.pid };
    if (event) this.#policy.event(event);
  }

  #released(process: StepProcess, path: string): void {
    this.#policy.event({ kind: 'released', path, pid: process.pid });
  }

  /** The kernel closes what a dead process had open. */
  #gone(process: StepProcess): void {
    for (const path of this.#writable.get(process)?.values() ?? []) {
      if (this.isUp) this.#released(process, path);
    }
    this.#writable.delete(process);
    this.#making.delete(process);
  }

  /** Of the file of its call, in the tree; undefined when it has no name any more. */
  #nameOf({ stop }: StepProcess): string | undefined {
    if (stop.file.endsWith(' (deleted)')) return undefined;
    return path.relative(this.#tree, stop.file);
  }

  #trace(process: StepProcess, text: string): void {
    this.#parts.trace(`${this.#parts.role} ${this.#processes.indexOf(process)} ${text}`);
  }
}

/** For people: what a process would do. */
export function describeStop({ call, file, at, size }: Stop): string {
  return `${call} ${path.basename(file)} ${at} ${size}`;
}
