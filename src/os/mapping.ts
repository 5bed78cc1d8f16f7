/**
 * Writing to a file through a shared mapping. write(2) waits for the lock of the inode, which the kernel holds all the while
 * that a file system in user space has not answered to the removal of the file; a mapping does not.
 *
 * Not for a file that this process serves itself: the end of the mapping has the kernel write it back, which waits for the
 * thread that serves it, while that may wait for the memory of the process.
 *
 * The kernel copies into it (pread of a memfd): where the file has been cut meanwhile that is EFAULT, and no SIGBUS.
 */
import fs from 'node:fs';
import { checked } from './libc.ts';
import { bind } from './native.ts';

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MFD_CLOEXEC = 1;
const MAP_BYTES = 4096;

const mmap = bind('mmap', ['intptr_t', 'size_t', 'int', 'int', 'int', 'int64_t'], 'intptr_t');
const munmap = bind('munmap', ['intptr_t', 'size_t']);
const memfdCreate = bind('memfd_create', ['const char *', 'uint32_t']);
const preadTo = bind('pread64', ['int', 'intptr_t', 'size_t', 'int64_t'], 'int64_t');

/**
 * Writes over bytes that the file has, in the first 4096.
 * @param fd open for reading and writing
 * @throws SystemError, EFAULT when the file does not reach so far
 */
export function writeMapped(fd: number, offset: number, bytes: Uint8Array): void {
  const source = checked('memfd_create', memfdCreate('litefs-lite', MFD_CLOEXEC));
  try {
    fs.writeSync(source, bytes, 0, bytes.length, 0);
    const address = checked('mmap', mmap(0, MAP_BYTES, PROT_READ_WRITE, MAP_SHARED, fd, 0));
    try {
      checked('pread', preadTo(source, address + offset, bytes.length, 0));
    } finally {
      checked('munmap', munmap(address, MAP_BYTES));
    }
  } finally {
    fs.closeSync(source);
  }
}
