/** LTX files, in memory or on disk, opened to be read. */
import fs from 'node:fs';
import { LiteFsError } from '../errors.ts';
import { decodeHeader, HEADER_BYTES, type LtxHeader } from '../ltx/header.ts';
import { type ByteSource, fileSource, memorySource } from '../ltx/sources.ts';
import { type ReadAt, readPostChecksum } from '../ltx/tail.ts';
import type { LtxSource } from '../store/log-entry.ts';
import { tryOnDisk } from './archive.ts';
import { pace } from './pace.ts';

export interface OpenEntry {
  readonly header: LtxHeader;
  readonly source: ByteSource;
  /** Of the database after it, as the file says. Throws LTX_CORRUPT. */
  postChecksum(): bigint;
}

/** Opens all entries. Throws WRONG_STATE when the log no longer has the file of one: it is to be read again; DISK. */
export function withEntries<T>(entries: readonly LtxSource[], use: (open: OpenEntry[]) => T): T {
  const fds = new Map<string, number>();
  try {
    const open = entries.map((entry): OpenEntry => {
      if ('bytes' in entry) {
        const { bytes } = entry;
        return opened(memorySource(bytes), bytes.length, (into, at) => {
          into.set(bytes.subarray(at, at + into.length));
        });
      }
      const { offset, length } = entry;
      const fd = fds.get(entry.path) ?? openFile(entry.path);
      fds.set(entry.path, fd);
      return opened(fileSource(fd, offset, length, pace.spend), length, (into, at) => {
        fs.readSync(fd, into, 0, into.length, offset + at);
      });
    });
    return use(open);
  } finally {
    for (const fd of fds.values()) tryOnDisk(() => fs.closeSync(fd));
  }
}

function openFile(file: string): number {
  try {
    return fs.openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new LiteFsError('WRONG_STATE', `${file} was merged or removed meanwhile`);
  }
}

function opened(source: ByteSource, length: number, readAt: ReadAt): OpenEntry {
  const head = Buffer.alloc(HEADER_BYTES);
  readAt(head, 0);
  const header = decodeHeader(head);
  return { header, source, postChecksum: () => readPostChecksum(header, length, readAt) };
}
