/** Reading the files of a log back at start: headers and ends only, never the pages. */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import { decodeHeader, HEADER_BYTES, type LtxHeader } from '../ltx/header.ts';
import type { Position } from '../ltx/position.ts';
import { readPostChecksum } from '../ltx/tail.ts';

/** Before each LTX file of a segment: its length, u32 big-endian. */
export const SEGMENT_PREFIX_BYTES = 4;

/** One LTX file of the log, and where its bytes are. */
export interface StoredEntry {
  readonly minTxid: number;
  readonly maxTxid: number;
  readonly pre: Position;
  readonly post: Position;
  readonly timestampMs: number;
  readonly pageSize: number;
  /** Size of the database in pages after it; 0 for a drop. */
  readonly commit: number;
  /** The part of the -wal it was captured from; all zero otherwise. */
  readonly wal: {
    readonly offset: number;
    readonly size: number;
    readonly salt1: number;
    readonly salt2: number;
  };
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

/** The one entry of an .ltx file; none (with a warning, the file set aside) when it is damaged. */
export function readLtxFile(file: string, warn: (message: string) => void): StoredEntry[] {
  const fd = fs.openSync(file, 'r');
  try {
    const size = fs.fstatSync(fd).size;
    return [readEntry(fd, file, 0, size)];
  } catch (error) {
    warn(`${file} is damaged and was set aside: ${errorText(error)}`);
    fs.renameSync(file, `${file}.damaged`);
    return [];
  } finally {
    fs.closeSync(fd);
  }
}

/** The entries of a segment, up to the first that is torn; the rest is cut off. */
export function readSegment(file: string, warn: (message: string) => void): StoredEntry[] {
  const fd = fs.openSync(file, 'r+');
  const entries: StoredEntry[] = [];
  try {
    const size = fs.fstatSync(fd).size;
    const prefix = Buffer.alloc(4);
    let at = 0;
    while (at + 4 <= size) {
      fs.readSync(fd, prefix, 0, 4, at);
      const length = prefix.readUInt32BE();
      if (at + 4 + length > size) break;
      try {
        const entry = readEntry(fd, file, at + 4, length);
        const last = entries.at(-1);
        if (last && entry.minTxid !== last.maxTxid + 1) break;
        entries.push(entry);
      } catch {
        break;
      }
      at += 4 + length;
    }
    if (at < size) {
      warn(`${file}: ${size - at} bytes of an unfinished write were cut off`);
      fs.ftruncateSync(fd, at);
    }
    return entries;
  } finally {
    fs.closeSync(fd);
  }
}

function readEntry(fd: number, file: string, offset: number, length: number): StoredEntry {
  const head = Buffer.alloc(HEADER_BYTES);
  fs.readSync(fd, head, 0, HEADER_BYTES, offset);
  const header = decodeHeader(head);
  const checksum = readPostChecksum(header, length, (into, at) => {
    fs.readSync(fd, into, 0, into.length, offset + at);
  });
  const post = { txid: header.maxTxid, checksum };
  return { ...positionsOf(header, post), path: file, offset, length };
}

/**
 * The size in pages of a database after the newest entry of its log, 0 when that is a drop; undefined of a log without
 * files. Reads only, so a torn end stays. Throws LTX_CORRUPT when no entry of it makes sense.
 */
export function newestCommit(dir: string): number | undefined {
  const files = fs.readdirSync(dir).filter((name) => !name.endsWith('.tmp'));
  if (files.length === 0) return undefined;
  // By their first transactions, the newest last.
  const ofTheLog = files.filter((name) => /\.(ltx|seg)$/.test(name)).sort();
  for (const name of ofTheLog.reverse()) {
    const commit = lastCommitOf(path.join(dir, name));
    if (commit !== undefined) return commit;
  }
  throw new LiteFsError('LTX_CORRUPT', `there is no whole entry in ${dir}`);
}

/** undefined: no entry is whole. */
function lastCommitOf(file: string): number | undefined {
  const fd = fs.openSync(file, 'r');
  try {
    const size = fs.fstatSync(fd).size;
    if (file.endsWith('.ltx')) return readEntry(fd, file, 0, size).commit;
    let commit: number | undefined;
    const prefix = Buffer.alloc(4);
    for (let at = 0; at + 4 <= size; ) {
      fs.readSync(fd, prefix, 0, 4, at);
      const length = prefix.readUInt32BE();
      if (at + 4 + length > size) break;
      commit = readEntry(fd, file, at + 4, length).commit;
      at += 4 + length;
    }
    return commit;
  } finally {
    fs.closeSync(fd);
  }
}

/** What an entry says of itself, wherever it is stored. */
export function positionsOf(header: LtxHeader, post: Position) {
  return {
    minTxid: header.minTxid,
    maxTxid: header.maxTxid,
    pre: { txid: header.minTxid - 1, checksum: header.preChecksum },
    post,
    timestampMs: header.timestampMs,
    pageSize: header.pageSize,
    commit: header.commit,
    wal: {
      offset: header.walOffset,
      size: header.walSize,
      salt1: header.walSalt1,
      salt2: header.walSalt2,
    },
  };
}

/** Makes a rename or removal in a directory durable. */
export function syncDirectory(dir: string | Buffer): void {
  const fd = fs.openSync(dir, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Has the disk have what was written to a file. */
export function syncFile(file: string): void {
  const fd = fs.openSync(file, 'r');
  try {
    fs.fdatasyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Keeps files out of the log, as `*.orphan`. */
export function orphan(entries: readonly StoredEntry[]): void {
  for (const file of new Set(entries.map((entry) => entry.path))) {
    fs.renameSync(file, `${file}.orphan`);
  }
}
