/**
 * File operations of a node that fail: node:fs and the door to the tree are watched, each call is counted that asks the disk for
 * something below a folder, and chosen ones fail with an error of the system, undone.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { errno, systemError } from '../../../src/os/libc.ts';
import { TreeDoor } from '../../../src/store/tree-door.ts';

/** What a disk, a quota, or a process that has run out of descriptors or memory says. */
export const FAULTS = ['ENOSPC', 'EIO', 'EDQUOT', 'EMFILE', 'ENOMEM'] as const;
export type Fault = (typeof FAULTS)[number];

const FS_CALLS = [
  'openSync',
  'readSync',
  'writeSync',
  'writevSync',
  'fdatasyncSync',
  'fsyncSync',
  'ftruncateSync',
  'truncateSync',
  'renameSync',
  'rmSync',
  'unlinkSync',
  'linkSync',
  'mkdirSync',
  'readdirSync',
  'readFileSync',
  'writeFileSync',
  'copyFileSync',
  'statSync',
  'lstatSync',
  'fchmodSync',
  'fchownSync',
] as const;
const DOOR_CALLS = [
  'open',
  'openCached',
  'create',
  'inDirectory',
  'list',
  'kind',
  'firstOther',
  'stat',
  'makeDirectories',
  'unlink',
  'moveIn',
  'linkIn',
  'moveOut',
  'linkOut',
  'syncDirectoryOf',
] as const;

type Call = (...args: unknown[]) => unknown;

export class FaultyDisk {
  readonly #root: string;
  /** Since begin(). */
  calls = 0;
  /** What has failed, in order. */
  readonly failed: string[] = [];
  #from = Number.POSITIVE_INFINITY;
  #to = Number.POSITIVE_INFINITY;
  #fault: Fault = 'EIO';
  #inside = false;

  constructor(t: TestContext, root: string) {
    this.#root = root;
    for (const call of FS_CALLS) this.#watch(t, fs as unknown as Record<string, Call>, call, where);
    const door = TreeDoor.prototype as unknown as Record<string, Call>;
    for (const call of DOOR_CALLS) {
      this.#watch(t, door, call, ([name], self) => path.join((self as TreeDoor).dir, String(name)));
    }
  }

  /** From now on calls are counted from 1, and `count` of them fail from the n-th on. */
  begin(n: number, count: number, fault: Fault): void {
    this.calls = 0;
    this.#from = n;
    this.#to = n + count;
    this.#fault = fault;
  }

  /** From now on none fails. */
  heal(): void {
    this.#from = Number.POSITIVE_INFINITY;
  }

  #watch(
    t: TestContext,
    target: Record<string, Call>,
    call: string,
    whereOf: (args: unknown[], self: unknown) => string | undefined,
  ): void {
    const real = target[call];
    const check = (args: unknown[], self: unknown) => this.#check(call, whereOf, args, self);
    const within = <T>(run: () => T): T => this.#within(run);
    // Without the mocks of the test runner, which keep each call.
    t.after(() => {
      target[call] = real;
    });
    target[call] = function (this: unknown, ...args: unknown[]) {
      const isOuter = check(args, this);
      // Nothing here loses power, and a disk takes its time.
      if (isOuter && (call === 'fdatasyncSync' || call === 'fsyncSync')) return undefined;
      // What a call is made of is not counted as well.
      return isOuter ? within(() => real.apply(this, args)) : real.apply(this, args);
    };
  }

  /** Whether it is one that counts. Throws when it is to fail. */
  #check(
    call: string,
    whereOf: (args: unknown[], self: unknown) => string | undefined,
    args: unknown[],
    self: unknown,
  ): boolean {
    if (this.#inside) return false;
    const file = this.#within(() => whereOf(args, self));
    if (file === undefined || !file.startsWith(this.#root)) return false;
    this.calls++;
    if (this.calls < this.#from || this.calls >= this.#to) return true;
    this.failed.push(`${call} ${path.relative(this.#root, file)}`);
    throw systemError(call, errno[this.#fault], file);
  }

  #within<T>(run: () => T): T {
    const before = this.#inside;
    this.#inside = true;
    try {
      return run();
    } finally {
      this.#inside = before;
    }
  }
}

/** The file that a call of node:fs is about. */
function where([file]: unknown[]): string | undefined {
  if (typeof file === 'number') return fs.readlinkSync(`/proc/self/fd/${file}`);
  const text = String(file);
  const ofFd = /^\/proc\/(?:self|thread-self)\/fd\/(\d+)$/.exec(text);
  return ofFd ? fs.readlinkSync(text) : text;
}
