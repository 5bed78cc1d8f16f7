/**
 * A process that ends at any change that it makes to its files, and with it the power, or not: node:fs and the door to the
 * tree are watched, each call that changes something is counted, and from a chosen one on all of them fail. So what would clean up afterwards does nothing.
 *
 * The model of the disk is the most forgetful one that still keeps the order of names: names are there at once, and the
 * content of a file is what it was when the file was last flushed (nothing, of a new one).
 */
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { TreeDoor } from '../../../src/store/tree-door.ts';

type Watched = 'writeSync' | 'ftruncateSync' | 'fdatasyncSync' | 'fsyncSync';

export class Disk {
  readonly #root: string;
  readonly #t: TestContext;
  /** By inode. */
  readonly #flushed = new Map<number, Buffer>();
  #left = Number.POSITIVE_INFINITY;
  /** The change that was refused first. */
  cut: string | undefined;

  /** Watches what happens to files below `root`; what is there now is flushed. `before`: is told of each change. */
  constructor(t: TestContext, root: string, before?: (call: string, ...files: string[]) => void) {
    this.#root = root;
    this.#t = t;
    for (const file of filesBelow(root)) this.#flush(file);
    const count = (call: string, files: string[]) => {
      before?.(call, ...files);
      if (--this.#left >= 0) return;
      this.cut ??= `${call} ${files.join(' ')}`;
      throw new Error(`cut off at ${this.cut}`);
    };
    const watch = (call: Watched | 'renameSync' | 'rmSync' | 'linkSync' | 'mkdirSync') => {
      const real = fs[call].bind(fs) as (...args: unknown[]) => unknown;
      t.mock.method(fs, call, (...args: unknown[]) => {
        const [fd] = args;
        const isOpen = typeof fd === 'number';
        const names = args
          .filter((arg) => typeof arg === 'string' || Buffer.isBuffer(arg))
          .map(String);
        const files = isOpen ? [fs.readlinkSync(`/proc/self/fd/${fd}`)] : names;
        count(call, files);
        const result = real(...args);
        if (isOpen && call.endsWith('syncSync') && fs.fstatSync(fd).isFile()) this.#flush(files[0]);
        return result;
      });
    };
    for (const call of ['writeSync', 'ftruncateSync', 'fdatasyncSync', 'fsyncSync'] as const) {
      watch(call);
    }
    for (const call of ['renameSync', 'rmSync', 'linkSync', 'mkdirSync'] as const) watch(call);
    for (const call of ['unlink', 'moveIn', 'moveOut', 'linkIn', 'linkOut'] as const) {
      const real = TreeDoor.prototype[call] as (...args: string[]) => unknown;
      t.mock.method(TreeDoor.prototype, call, function (this: TreeDoor, ...args: string[]) {
        const isTo = call === 'moveIn' || call === 'linkIn';
        const [name, ...paths] = isTo ? args.toReversed() : args;
        count(call, [path.join(this.dir, name), ...paths]);
        return real.apply(this, args);
      });
    }
  }

  /** From the n-th change from now on, counted from 1, none is made. */
  cutAt(n: number): void {
    this.#left = n - 1;
  }

  /** Lets the next process at the files; those have what was flushed alone when `powerWent`. */
  restart(powerWent: boolean): void {
    this.#t.mock.restoreAll();
    if (!powerWent) return;
    for (const file of filesBelow(this.#root)) {
      fs.writeFileSync(file, this.#flushed.get(fs.statSync(file).ino) ?? '');
    }
  }

  #flush(file: string): void {
    this.#flushed.set(fs.statSync(file).ino, fs.readFileSync(file));
  }
}

function filesBelow(root: string): string[] {
  return fs
    .readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}
