/** Pages that wait to become part of a database: a sparse file laid out like it, and their checksums. */
import fs from 'node:fs';
import { pageChecksum } from '../kernels/checksum.ts';

export class StagedImage {
  readonly path: string;
  readonly pageSize: number;
  readonly #fd: number;
  readonly #sums = new Map<number, bigint>();

  constructor(file: string, pageSize: number) {
    this.path = file;
    this.pageSize = pageSize;
    this.#fd = fs.openSync(file, 'wx+', 0o644);
  }

  put(pgno: number, data: Uint8Array): void {
    let at = 0;
    const offset = (pgno - 1) * this.pageSize;
    while (at < data.length) at += fs.writeSync(this.#fd, data, at, data.length - at, offset + at);
    this.#sums.set(pgno, pageChecksum(pgno, data));
  }

  /** The checksum of a staged page; undefined when it is not staged. */
  sum(pgno: number): bigint | undefined {
    return this.#sums.get(pgno);
  }

  /** Staged pages within a size. */
  countUpTo(pageCount: number): number {
    let count = 0;
    for (const pgno of this.#sums.keys()) if (pgno <= pageCount) count++;
    return count;
  }

  *sums(): Generator<{ pgno: number; sum: bigint }> {
    for (const [pgno, sum] of this.#sums) yield { pgno, sum };
  }

  /** The staged pages in ascending order; `data` is valid until the next one. */
  *pages(): Generator<{ pgno: number; data: Buffer }> {
    const data = Buffer.allocUnsafe(this.pageSize);
    const pgnos = Uint32Array.from(this.#sums.keys()).sort();
    for (const pgno of pgnos) {
      fs.readSync(this.#fd, data, 0, data.length, (pgno - 1) * this.pageSize);
      yield { pgno, data };
    }
  }

  /** Makes the file a whole database of that size, on disk. */
  complete(pageCount: number): void {
    fs.ftruncateSync(this.#fd, pageCount * this.pageSize);
    fs.fdatasyncSync(this.#fd);
  }

  remove(): void {
    fs.closeSync(this.#fd);
    fs.rmSync(this.path, { force: true });
  }
}
