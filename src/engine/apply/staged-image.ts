/** Pages that wait to become part of a database: a sparse file laid out like it, and their checksums. */
import fs from 'node:fs';
import path from 'node:path';
import { pageChecksum } from '../../kernels/checksum.ts';
import { SYNC_FILE_RANGE_WRITE, syncFileRange } from '../../os/libc.ts';
import { syncDirectory } from '../../store/log-files.ts';

/** Pages that follow one another are written together. */
const RUN_BYTES = 1 << 20;
const PAGES_PER_BLOCK_MAX = 512;
const SUM_BYTES = 8;
const OURS_ALONE = 0o600;

export class StagedImage {
  readonly path: string;
  readonly pageSize: number;
  readonly #fd: number;
  readonly #sums: SparseSums;
  /** What is not in the file yet. */
  readonly #run = Buffer.allocUnsafeSlow(RUN_BYTES);
  #runOffset = 0;
  #runBytes = 0;

  constructor(file: string, pageSize: number) {
    this.path = file;
    this.pageSize = pageSize;
    this.#sums = new SparseSums(pageSize);
    this.#fd = fs.openSync(file, 'wx+', OURS_ALONE);
  }

  put(pgno: number, data: Uint8Array): void {
    const offset = (pgno - 1) * this.pageSize;
    const follows = offset === this.#runOffset + this.#runBytes;
    if (!follows || this.#runBytes + data.length > RUN_BYTES) {
      this.writeOut();
      this.#runOffset = offset;
    }
    this.#run.set(data, this.#runBytes);
    this.#runBytes += data.length;
    this.#sums.set(pgno, pageChecksum(pgno, data));
  }

  /** The checksum of a staged page; undefined when it is not staged. */
  sum(pgno: number): bigint | undefined {
    return this.#sums.get(pgno);
  }

  /** Staged pages within a size. */
  countUpTo(pageCount: number): number {
    let count = 0;
    for (const { pgno } of this.#sums) if (pgno <= pageCount) count++;
    return count;
  }

  /** In ascending order. */
  sums(): Iterable<{ pgno: number; sum: bigint }> {
    return this.#sums;
  }

  /** The staged pages in ascending order; `data` is valid until the next one. */
  *pages(): Generator<{ pgno: number; data: Buffer }> {
    this.writeOut();
    const data = Buffer.allocUnsafe(this.pageSize);
    for (const { pgno } of this.#sums) {
      fs.readSync(this.#fd, data, 0, data.length, (pgno - 1) * this.pageSize);
      yield { pgno, data };
    }
  }

  /** Has all that was put in the file: until then a full disk may show later. */
  writeOut(): void {
    for (let at = 0; at < this.#runBytes; ) {
      at += fs.writeSync(this.#fd, this.#run, at, this.#runBytes - at, this.#runOffset + at);
    }
    // The disk may begin: complete() then has less to wait for. What fails there fails again, and is told.
    if (this.#runBytes === RUN_BYTES) {
      syncFileRange(this.#fd, this.#runOffset, this.#runBytes, SYNC_FILE_RANGE_WRITE);
    }
    this.#runBytes = 0;
  }

  /** Makes the file a whole database of that size, on disk. */
  complete(pageCount: number): void {
    this.writeOut();
    fs.ftruncateSync(this.#fd, pageCount * this.pageSize);
    fs.fdatasyncSync(this.#fd);
  }

  /** The same, under a name where it stays when this is removed. */
  keepAs(file: string, pageCount: number): void {
    this.complete(pageCount);
    fs.renameSync(this.path, file);
    syncDirectory(path.dirname(file));
  }

  remove(): void {
    fs.closeSync(this.#fd);
    fs.rmSync(this.path, { force: true });
  }
}

/**
 * Of any pages of a database: eight bytes a page where they lie close to one another, whatever its size, and never more than
 * the page itself has, however far apart they lie.
 */
class SparseSums {
  readonly #pagesPerBlock: number;
  /** By pgno / #pagesPerBlock. A checksum is never 0. */
  readonly #blocks = new Map<number, BigUint64Array>();

  constructor(pageSize: number) {
    this.#pagesPerBlock = Math.max(1, Math.min(PAGES_PER_BLOCK_MAX, pageSize / SUM_BYTES));
  }

  get(pgno: number): bigint | undefined {
    const each = this.#pagesPerBlock;
    const sum = this.#blocks.get(Math.floor(pgno / each))?.[pgno % each];
    return sum === 0n ? undefined : sum;
  }

  set(pgno: number, sum: bigint): void {
    const each = this.#pagesPerBlock;
    const index = Math.floor(pgno / each);
    let block = this.#blocks.get(index);
    if (!block) {
      block = new BigUint64Array(each);
      this.#blocks.set(index, block);
    }
    block[pgno % each] = sum;
  }

  *[Symbol.iterator](): Generator<{ pgno: number; sum: bigint }> {
    const each = this.#pagesPerBlock;
    const indexes = [...this.#blocks.keys()].sort((a, b) => a - b);
    for (const index of indexes) {
      const block = this.#blocks.get(index) as BigUint64Array;
      for (let i = 0; i < each; i++) {
        if (block[i] !== 0n) yield { pgno: index * each + i, sum: block[i] };
      }
    }
  }
}
