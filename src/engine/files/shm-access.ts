/** The wal-index of a database as src/sqlite/wal-locks.ts wants it: locks and bytes of the -shm file. */
import fs from 'node:fs';
import { ofdLock } from '../../os/locks.ts';
import { writeMapped } from '../../os/mapping.ts';
import { WAL_LOCK_BASE } from '../../sqlite/locks.ts';
import type { ShmAccess } from '../../sqlite/wal-locks.ts';
import type { DatabaseFiles } from './files.ts';

/** `own`: another descriptor of the -shm, with locks of its own (DatabaseFiles.openAgain). */
export function shmAccess(files: DatabaseFiles, own?: number): ShmAccess {
  return own === undefined ? sharedAccess(files) : ownAccess(files, own);
}

/**
 * On a primary the last connection removes the -shm, which is held back until we have captured, and the kernel keeps its inode
 * locked all the while. write(2) would wait for that, and we with it, for ever; a mapping does not, where it can be had.
 */
function mayWrite(files: DatabaseFiles): boolean {
  return files.mayBeMapped || !files.mayBeHeldUp;
}

function ownAccess(files: DatabaseFiles, fd: number): ShmAccess {
  return {
    mayRaise: mayWrite(files),
    lock: (slot, count, type) =>
      ofdLock(fd, type === 'shared' ? 'read' : 'write', WAL_LOCK_BASE + slot, count),
    unlock(slot, count) {
      ofdLock(fd, 'unlock', WAL_LOCK_BASE + slot, count);
    },
    readShm(offset, length) {
      const bytes = Buffer.alloc(length);
      fs.readSync(fd, bytes, 0, length, offset);
      return bytes;
    },
    writeShm(offset, bytes) {
      // Through a mapping: see below.
      if (files.mayBeMapped) writeMapped(fd, offset, bytes);
      else fs.writeSync(fd, bytes, 0, bytes.length, offset);
    },
  };
}

function sharedAccess(files: DatabaseFiles): ShmAccess {
  return {
    mayRaise: mayWrite(files),
    lock(slot, count, type) {
      const kind = type === 'shared' ? 'read' : 'write';
      return files.lock('shm', kind, WAL_LOCK_BASE + slot, count);
    },
    unlock(slot, count) {
      files.lock('shm', 'unlock', WAL_LOCK_BASE + slot, count);
    },
    readShm(offset, length) {
      const bytes = Buffer.alloc(length);
      files.read('shm', bytes, offset);
      return bytes;
    },
    writeShm(offset, bytes) {
      const fd = files.mayBeHeldUp && files.mayBeMapped ? files.fd('shm') : undefined;
      // While somebody removes the file, which is held back until we have captured, write(2) would wait for its inode.
      if (fd !== undefined) writeMapped(fd, offset, bytes);
      else files.write('shm', bytes, offset);
    },
  };
}
