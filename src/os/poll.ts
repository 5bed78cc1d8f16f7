/**
 * Waiting for descriptors, and descriptors made to be waited for.
 *
 * struct pollfd, 8 bytes: i32 fd, i16 events, i16 revents. struct timespec: i64 seconds, i64 ns.
 */
import { readSync, writeSync } from 'node:fs';
import { checked, errno, type SystemError } from './libc.ts';
import { BYTES, bind } from './native.ts';

const POLLIN = 1;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

const eventfd = bind('eventfd', ['uint', 'int']);
const ppoll = bind('ppoll', [BYTES, 'ulong', BYTES, BYTES]);

const one = new Uint8Array(new BigUint64Array([1n]).buffer);
const counter = new Uint8Array(8);
const timespec = new BigInt64Array(2);
let pollfds = Buffer.alloc(8 * 8);

/** An eventfd(2): non-blocking, close-on-exec, count 0. @throws SystemError */
export function createEventFd(): number {
  return checked('eventfd', eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

/** Makes `fd` readable. May be called from any thread. @throws SystemError */
export function signalEventFd(fd: number): void {
  try {
    writeSync(fd, one);
  } catch (error) {
    // A full counter is readable as well as any other.
    if ((error as SystemError).code !== 'EAGAIN') throw error;
  }
}

/** Takes back all signals so far. @throws SystemError */
export function drainEventFd(fd: number): void {
  try {
    readSync(fd, counter);
  } catch (error) {
    if ((error as SystemError).code !== 'EAGAIN') throw error;
  }
}

/**
 * Waits until one of `fds` is readable, has failed or was closed at the other end.
 * @param timeoutMs fractions count; negative: for ever
 * @returns false when the time was up or a signal came
 * @throws SystemError
 */
export function pollIn(fds: readonly number[], timeoutMs: number): boolean {
  if (pollfds.length < fds.length * 8) pollfds = Buffer.alloc(fds.length * 8);
  for (let i = 0; i < fds.length; i++) {
    pollfds.writeInt32LE(fds[i], i * 8);
    pollfds.writeInt32LE(POLLIN, i * 8 + 4);
  }
  let limit: BigInt64Array | null = null;
  if (timeoutMs >= 0) {
    const seconds = Math.floor(timeoutMs / 1000);
    timespec[0] = BigInt(seconds);
    timespec[1] = BigInt(Math.floor((timeoutMs - seconds * 1000) * 1e6));
    limit = timespec;
  }
  const ready = ppoll(pollfds, fds.length, limit, null);
  if (ready === -errno.EINTR) return false;
  return checked('ppoll', ready) > 0;
}
