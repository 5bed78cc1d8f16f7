/**
 * A table of descriptors of its own for a thread.
 *
 * The thread that serves a mount needs one: when the process is killed while another of its threads waits for that
 * mount, the wait ends only if /dev/fuse is closed, and a shared table is closed only when all threads
 * have ended. With a table of its own the serving thread takes /dev/fuse with it at once.
 */
import fs from 'node:fs';
import { checked } from './libc.ts';
import { bind } from './native.ts';

const CLONE_FILES = 0x400;

const unshare = bind('unshare', ['int']);

/**
 * From now on what this thread opens and closes concerns no other thread, and the reverse. Its copies of sockets are
 * closed, so that the others' closing takes effect; standard streams are kept. No asynchronous file
 * operation may be used in this thread afterwards: those run in threads with the other table.
 */
export function separateDescriptors(): void {
  checked('unshare', unshare(CLONE_FILES));
  for (const name of fs.readdirSync('/proc/thread-self/fd')) {
    const fd = Number(name);
    if (fd > 2 && isSocket(name)) fs.closeSync(fd);
  }
}

function isSocket(fd: string): boolean {
  try {
    return fs.readlinkSync(`/proc/thread-self/fd/${fd}`).startsWith('socket:');
  } catch {
    return false;
  }
}
