/**
 * The door to a mount for a thread that must not wait for it (tree-door.ts says what it is for): each step of a name in
 * libuv's pool, by a descriptor of the directory that the step before has led to.
 */
import { constants, type FileHandle, open } from 'node:fs/promises';
import { DIRECTORY, O_PATH } from '../os/beneath.ts';

const { O_NOFOLLOW, O_NONBLOCK } = constants;

/**
 * Opens what has a name below a directory; the caller closes it. With O_PATH, whatever it is. Rejects as open(2) does: with
 * ELOOP or ENOTDIR when a component is a link.
 */
export async function openBelow(
  dir: string,
  name: string,
  flags: number,
  mode?: number,
): Promise<FileHandle> {
  const parts = name.split('/');
  const last = parts.pop() as string;
  let at = await open(dir, DIRECTORY);
  try {
    for (const part of parts) {
      const next = await open(pathIn(at, part), DIRECTORY | O_NOFOLLOW);
      await at.close();
      at = next;
    }
    const safe = O_NOFOLLOW | ((flags & O_PATH) === 0 ? O_NONBLOCK : 0);
    return await open(pathIn(at, last), flags | safe, mode);
  } finally {
    await at.close();
  }
}

function pathIn(dir: FileHandle, part: string): Buffer {
  if (part === '..') throw new Error('a name that leads upwards');
  return Buffer.from(`/proc/self/fd/${dir.fd}/${part}`, 'latin1');
}
