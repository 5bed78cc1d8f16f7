/** Byte-range locks as another process has them, for tests against a real SQLite. Linux, 64 bit. */
import fs from 'node:fs';
import koffi from 'koffi';
import { WAL_LOCK_BASE } from '../../../src/sqlite/locks.ts';
import type { ShmAccess } from '../../../src/sqlite/wal-locks.ts';

const fcntl = koffi.load(null).func('int fcntl(int fd, int cmd, ...)');
/** Locks of the open file, not the process: they stand against SQLite's, and close() drops no others. */
const F_OFD_SETLK = 37;
const TYPES = { shared: 0, exclusive: 1, unlock: 2 };

/** False when somebody else's lock is in the way. */
export function lockRange(
  fd: number,
  type: keyof typeof TYPES,
  start: number,
  length: number,
): boolean {
  const flock = Buffer.alloc(32);
  flock.writeInt16LE(TYPES[type], 0);
  flock.writeBigInt64LE(BigInt(start), 8);
  flock.writeBigInt64LE(BigInt(length), 16);
  return fcntl(fd, F_OFD_SETLK, 'void *', flock) === 0;
}

/** The -shm file of a live database. */
export function fileShm(fd: number): ShmAccess {
  return {
    lock: (slot, count, type) => lockRange(fd, type, WAL_LOCK_BASE + slot, count),
    unlock: (slot, count) => lockRange(fd, 'unlock', WAL_LOCK_BASE + slot, count),
    mayRaise: true,
    readShm(offset, length) {
      const bytes = Buffer.alloc(length);
      fs.readSync(fd, bytes, 0, length, offset);
      return bytes;
    },
    writeShm(offset, bytes) {
      fs.writeSync(fd, bytes, 0, bytes.length, offset);
    },
  };
}
