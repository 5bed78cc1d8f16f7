/** A disk with sectors that cannot be read. */
import fs from 'node:fs';
import { mock } from 'node:test';

/** From now on reading these files fails with EIO, in this process, until `mock.restoreAll()`. */
export function makeUnreadable(...files: readonly string[]): void {
  const readSync = fs.readSync as (fd: number, ...rest: unknown[]) => number;
  mock.method(fs, 'readSync', (fd: number, ...rest: unknown[]) => {
    if (!files.includes(fs.readlinkSync(`/proc/self/fd/${fd}`))) return readSync(fd, ...rest);
    throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', errno: -5 });
  });
}
