/** Entries that come in chunks (ENTRY_BEGIN, ENTRY_CHUNK, ENTRY_END), being written to files. */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import { removeSpooled } from '../store/spool.ts';
import { bytesOf } from './messages.ts';

/** The largest entry that is accepted: a database of 2^32 pages does not come as one transaction. */
const ENTRY_BYTES_MAX = 2 ** 40;

interface Spool {
  readonly path: string;
  readonly length: number;
  written: number;
}

export class EntrySpools {
  readonly #dir: string;
  readonly #spools = new Map<string, Spool>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Throws PROTOCOL for a length that cannot be. */
  begin({ database, length }: { database: string; length: number }): void {
    if (length > ENTRY_BYTES_MAX) throw new LiteFsError('PROTOCOL', `an entry of ${length} bytes`);
    this.drop(database);
    const file = path.join(this.#dir, `received-${randomUUID()}`);
    this.#spools.set(database, { path: file, length, written: 0 });
  }

  /** What was not begun is left out. Throws PROTOCOL, DISK. */
  chunk({ database, parts }: { database: string; parts: readonly Buffer[] }): void {
    const spool = this.#spools.get(database);
    if (!spool) return;
    const bytes = bytesOf(parts);
    if (spool.written + bytes > spool.length) {
      throw new LiteFsError('PROTOCOL', 'an entry that is longer than was said');
    }
    try {
      append(spool, parts);
    } catch (error) {
      throw new LiteFsError('DISK', `cannot keep what is received: ${(error as Error).message}`, {
        hint: 'Free space on the disk of data.dir.',
        cause: error,
      });
    }
    spool.written += bytes;
  }

  /** The whole entry, in a file that is the caller's from now on; undefined when none was begun. Throws PROTOCOL. */
  end(database: string): string | undefined {
    const spool = this.#spools.get(database);
    if (!spool) return undefined;
    if (spool.written !== spool.length) {
      throw new LiteFsError('PROTOCOL', 'an entry that is shorter than was said');
    }
    // One of no bytes has no file yet.
    if (spool.length === 0) append(spool, []);
    this.#spools.delete(database);
    return spool.path;
  }

  drop(database: string): void {
    const spool = this.#spools.get(database);
    if (!spool) return;
    this.#spools.delete(database);
    removeSpooled(spool.path);
  }

  /** Removes a file that end() has given away. */
  discard(path: string): void {
    removeSpooled(path);
  }

  dropAll(): void {
    for (const database of [...this.#spools.keys()]) this.drop(database);
  }
}

/** Nothing stays open: any number of entries may be announced, and descriptors are few. */
function append({ path: file, written }: Spool, parts: readonly Buffer[]): void {
  const { O_APPEND, O_CREAT, O_EXCL, O_WRONLY } = fs.constants;
  const fd = fs.openSync(file, O_WRONLY | O_APPEND | (written === 0 ? O_CREAT | O_EXCL : 0), 0o600);
  try {
    for (const part of parts) {
      for (let at = 0; at < part.length; ) at += fs.writeSync(fd, part, at);
    }
  } finally {
    fs.closeSync(fd);
  }
}
