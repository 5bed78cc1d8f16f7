/** What the tests of src/sqlite share: folders that go away, real databases, files read at an offset. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { JournalFile } from '../../../src/sqlite/journal.ts';
import {
  frameOffset,
  parseWalHeader,
  readFrames,
  type WalCursor,
  type WalHeader,
  walCursorAtStart,
} from '../../../src/sqlite/wal.ts';
import type { ShmMemory } from '../../../src/sqlite/wal-index.ts';

export const PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/** A folder that is removed when the test ends. */
export function tmpFolder(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-sqlite-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A connection that is closed when the test ends. */
export function openDatabase(t: TestContext, file: string, ...pragmas: string[]): Sqlite.Database {
  const db = new Sqlite(file);
  t.after(() => db.close());
  for (const pragma of pragmas) db.pragma(pragma);
  return db;
}

export interface Frame {
  readonly frame: number;
  readonly pgno: number;
  readonly commitPages: number;
  readonly data: Buffer;
}

/** The valid frames of the bytes of a whole -wal file. */
export function walFrames(wal: Buffer): { header: WalHeader; cursor: WalCursor; frames: Frame[] } {
  const header = parseWalHeader(wal);
  if (!header) throw new Error('no WAL header');
  const cursor = walCursorAtStart(header);
  const start = frameOffset(1, header.pageSize);
  const frames: Frame[] = [];
  readFrames(cursor, wal.subarray(start), (frame, pgno, commitPages, offset) => {
    const data = wal.subarray(start + offset + 24, start + offset + 24 + header.pageSize);
    frames.push({ frame, pgno, commitPages, data });
  });
  return { header, cursor, frames };
}

/** A -shm file in memory that counts the calls. */
export class MemoryShm implements ShmMemory {
  bytes = Buffer.alloc(0);
  reads = 0;
  readBytes = 0;
  writes = 0;

  constructor(bytes?: Buffer) {
    if (bytes) this.bytes = Buffer.from(bytes);
  }

  read(offset: number, length: number): Buffer {
    this.reads++;
    this.readBytes += length;
    const out = Buffer.alloc(length);
    this.bytes.copy(out, 0, offset, offset + length);
    return out;
  }

  write(offset: number, bytes: Buffer): void {
    this.writes++;
    if (offset + bytes.length > this.bytes.length) {
      this.bytes = Buffer.concat([
        this.bytes,
        Buffer.alloc(offset + bytes.length - this.bytes.length),
      ]);
    }
    bytes.copy(this.bytes, offset);
  }
}

/** A journal from its bytes. */
export function journalFile(bytes: Buffer): JournalFile {
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
}

/** The pages of a database file that differ from an older copy of it, where both have them; ascending. */
export function changedPages(before: Buffer, after: Buffer, pageSize: number): number[] {
  const changed: number[] = [];
  const end = Math.min(before.length, after.length);
  for (let at = 0; at < end; at += pageSize) {
    if (!before.subarray(at, at + pageSize).equals(after.subarray(at, at + pageSize))) {
      changed.push(at / pageSize + 1);
    }
  }
  return changed;
}
