/**
 * Marks, in the order of inotify's events, around the cut that follows a commit with auto_vacuum: SQLite ends the journal
 * first, and then gives the file the size that its header says. That cut is a write which no journal explains; what comes
 * before and after it may be a commit without a journal, and inotify makes one event of writes that follow each other.
 *
 * A mark is an empty file that is made before the cut and removed after it, in a directory that the engine watches with the
 * same inotify descriptor as the tree: `<number>.<encoded name of the database>`. The number tells a mark whose cut
 * has failed from the next one.
 */
import fs from 'node:fs';
import path from 'node:path';
import { isOutsideFault } from '../errors.ts';
import { DB_HEADER_BYTES, isPageCountValid, parseDbHeader } from '../sqlite/db-header.ts';
import { decodeName, encodeName } from '../store/layout.ts';

/** A number that fits in a file name beside the longest name of a database. */
const NUMBER_MAX = 1e9;

export class CutMarks {
  readonly #dir: string;
  #next = 1;
  #present: string | undefined;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Before a cut. What the disk refuses is no harm: then every page is compared. */
  begin(database: string): void {
    this.end();
    const encoded = encodeName(database);
    if (encoded === undefined) return;
    const file = path.join(this.#dir, `${this.#next}.${encoded}`);
    this.#next = (this.#next % NUMBER_MAX) + 1;
    this.#tolerate(() => {
      fs.closeSync(fs.openSync(file, 'wx', 0o600));
      this.#present = file;
    });
  }

  /** After it, or when it came to nothing. */
  end(): void {
    const file = this.#present;
    this.#present = undefined;
    if (file !== undefined) this.#tolerate(() => fs.rmSync(file, { force: true }));
  }

  #tolerate(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
    }
  }
}

/** What the name of a mark says; undefined for another file. */
export function parseCutMark(name: string): { number: number; database: string } | undefined {
  const match = /^(\d{1,10})\.(.+)$/.exec(name);
  return match ? { number: Number(match[1]), database: decodeName(match[2]) } : undefined;
}

/**
 * Whether to cut a database file to this size takes away only what is past its end as the header tells it. What tells
 * otherwise was written before, and is an event of its own. `fd`: the file.
 */
export function cutsPastTheEnd(fd: number, size: number): boolean {
  if (size >= fs.fstatSync(fd).size) return false;
  const head = Buffer.alloc(DB_HEADER_BYTES);
  const header = parseDbHeader(head.subarray(0, fs.readSync(fd, head, 0, head.length, 0)));
  if (!header || !isPageCountValid(header)) return false;
  return size >= header.pageCount * header.pageSize;
}
