/**
 * A backing file while the mount has it open: one descriptor serves all handles of a node, so that
 * removed files live on, and one decision holds for all of them, since the kernel forbids opens with
 * and without passthrough of one inode at the same time.
 */
import { close, cString, open } from '../os/libc.ts';

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/**
 * Opens an open file once more, by its descriptor and not by name: it may have none any more.
 * @param mode O_RDONLY or O_RDWR
 * @returns a descriptor or a negative errno
 */
export function reopen(fd: number, mode: number): number {
  return open(cString(`/proc/thread-self/fd/${fd}`), mode | O_NONBLOCK | O_CLOEXEC, 0);
}

export class OpenFile {
  /** Open for reading; for writing too once a writer has come. */
  fd: number;
  /** Id of the backing file's registration; 0: reads and writes come to us. */
  readonly backingId: number;
  handles = 0;
  #writable: boolean;

  constructor(fd: number, writable: boolean, backingId: number) {
    this.fd = fd;
    this.#writable = writable;
    this.backingId = backingId;
  }

  /** Sees to it that `fd` can be written. @returns 0 or a negative errno */
  makeWritable(): number {
    if (this.#writable) return 0;
    const fd = reopen(this.fd, O_RDWR);
    if (fd < 0) return fd;
    close(this.fd);
    this.fd = fd;
    this.#writable = true;
    return 0;
  }
}
