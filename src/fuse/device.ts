/**
 * /dev/fuse: requests are read from it and replies written to it, all through two buffers that are
 * never allocated again.
 */
import assert from 'node:assert';
import { checked, errno, fcntl, read, write } from '../os/libc.ts';
import { pollIn } from '../os/poll.ts';
import { MAX_TRANSFER, OUT_HEADER } from './protocol.ts';
import type { Asker, Request } from './request.ts';

const F_SETFL = 4;
const O_RDWR_NONBLOCK = 0o4002;

/** How long to look for the next request before sleeping, in ms: waking up costs about as much. */
const SPIN_MS = 0.05;
/** A sleep shorter than this (ms) would have been better spent looking. */
const SHORT_SLEEP_MS = 0.15;

export class FuseDevice {
  /** The body of the next reply; what a handler puts here goes out by `reply`. */
  readonly body: Buffer;
  readonly bodyWords: Uint32Array;
  readonly fd: number;
  readonly #stop: number | undefined;
  readonly #fds: readonly number[];
  readonly #message = Buffer.from(new ArrayBuffer(OUT_HEADER + MAX_TRANSFER));
  readonly #words = new Uint32Array(this.#message.buffer);
  #spins = false;

  /**
   * @param fd /dev/fuse, open for reading and writing; it is made non-blocking
   * @param stop becomes readable when no more requests shall be waited for
   */
  constructor(fd: number, stop?: number) {
    this.fd = fd;
    this.#stop = stop;
    this.#fds = stop === undefined ? [fd] : [fd, stop];
    this.body = this.#message.subarray(OUT_HEADER);
    this.bodyWords = this.#words.subarray(OUT_HEADER / 4);
    checked('fcntl(F_SETFL)', fcntl(fd, F_SETFL, O_RDWR_NONBLOCK));
  }

  /**
   * Waits for a request and reads it.
   * @returns false when the mount is gone, or when none was there and it is to stop
   * @throws SystemError
   */
  next(request: Request): boolean {
    for (;;) {
      const length = this.#spins ? this.#spin(request) : this.#read(request);
      if (length > 0) {
        request.arrived(length);
        return true;
      }
      if (length === -errno.ENODEV) return false;
      // ENOENT: the caller was killed before its request could be read.
      if (length === -errno.EINTR || length === -errno.ENOENT) continue;
      if (length !== -errno.EAGAIN) checked('read(/dev/fuse)', length);
      this.#sleep();
      if (this.#stop !== undefined && pollIn([this.#stop], 0)) return false;
    }
  }

  #read(request: Request): number {
    return read(this.fd, request.buffer, request.buffer.length);
  }

  #spin(request: Request): number {
    const end = performance.now() + SPIN_MS;
    for (;;) {
      const length = this.#read(request);
      if (length !== -errno.EAGAIN || performance.now() > end) return length;
    }
  }

  /** Sleeps until there is a request, and learns from how long that took whether to spin. */
  #sleep(): void {
    const began = performance.now();
    pollIn(this.#fds, -1);
    this.#spins = performance.now() - began < SHORT_SLEEP_MS;
  }

  /**
   * Sends a reply.
   * @param outcome a negative errno, or how many bytes of `body` make it up
   */
  reply(asker: Asker, outcome: number): void {
    const words = this.#words;
    const length = OUT_HEADER + Math.max(0, outcome);
    words[0] = length;
    words[1] = Math.min(0, outcome);
    words[2] = asker.uniqueLow;
    words[3] = asker.uniqueHigh;
    const written = write(this.fd, this.#message, length);
    // ENOENT: the request was interrupted; ENODEV: unmounted. Nobody waits for the reply.
    if (written === -errno.ENOENT || written === -errno.ENODEV) return;
    assert.equal(written, length, `the kernel does not understand a reply (${outcome})`);
  }
}
