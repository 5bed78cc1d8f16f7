/** A place for the folders of tests in which waiting for a disk would tell nothing. */
import fs from 'node:fs';
import os from 'node:os';

const MEMORY = '/dev/shm';
/** In a container it may be small. */
const ROOM_BYTES_MIN = 2 ** 31;

/** Memory as a file system, where there is one with room; else where other temporary files are. */
export function memoryFolder(): string {
  return fs.existsSync(MEMORY) && hasRoom(MEMORY) ? MEMORY : os.tmpdir();
}

/**
 * What is tested with passthrough and without is tested on a disk and in memory so: with passthrough applications are on that
 * file system themselves, and without it a disk would only be waited for.
 */
export function baseFor(passthrough: 'auto' | 'off'): string {
  return passthrough === 'off' ? memoryFolder() : os.tmpdir();
}

function hasRoom(dir: string): boolean {
  const { bavail, bsize } = fs.statfsSync(dir);
  return bavail * bsize > ROOM_BYTES_MIN;
}
