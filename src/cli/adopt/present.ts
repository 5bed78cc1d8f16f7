/** The present state of a database in the mount, copied by descriptors, and the position that it has. */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { LiteFsError } from '../../errors.ts';
import { type Position, samePosition } from '../../ltx/position.ts';
import type { Folder } from '../../os/folder.ts';
import { ofdLock } from '../../os/locks.ts';
import { PENDING_BYTE, SHARED_FIRST, SHARED_SIZE } from '../../sqlite/locks.ts';
import { positionOf } from './mounted.ts';
import { SIDE_FILES } from './names.ts';
import { checksumOf, copyParts, finish, type Whole } from './whole.ts';

const BUSY_MS = 10_000;
const REST_MS = 20;

export interface Present {
  readonly whole: Whole;
  /** undefined when it is not replicated. */
  readonly position: Position | undefined;
}

/**
 * @param fd the database, open for reading
 * @param options.applied the node writes it, by what its primary sends; else only applications do
 * @param options.dir ours alone
 * Rejects with DATABASE_BUSY when it is locked or written for too long, DATABASE_CORRUPT, WRONG_STATE, DISK.
 */
export async function copyPresent(
  folder: Folder,
  base: string,
  fd: number,
  { applied, dir }: { readonly applied: boolean; readonly dir: string },
): Promise<Present> {
  const untilMs = performance.now() + BUSY_MS;
  const to = path.join(dir, 'database');
  for (;;) {
    const position = positionOf(folder, base);
    if (underLock(fd, () => copyParts(folder, base, fd, to))) {
      const isSame = equal(position, positionOf(folder, base));
      const whole = isSame ? finished(to, folder.at(base), applied) : undefined;
      // A checkpoint of the node may have come in between, and leaves the position as it is.
      if (whole && (!applied || checksumOf(whole) === position?.checksum))
        return { whole, position };
      for (const suffix of ['', ...SIDE_FILES]) fs.rmSync(to + suffix, { force: true });
    }
    if (performance.now() > untilMs) {
      throw new LiteFsError(
        'DATABASE_BUSY',
        `${folder.at(base)} is locked or written all the time`,
        {
          hint: 'Stop its applications. The link is where it was.',
        },
      );
    }
    await setTimeout(REST_MS);
  }
}

export function equal(a: Position | undefined, b: Position | undefined): boolean {
  return a === undefined || b === undefined ? a === b : samePosition(a, b);
}

/** As SQLite's readers have it: nobody writes the database file meanwhile but a checkpoint. False when it is not to be had. */
function underLock(fd: number, work: () => void): boolean {
  if (!ofdLock(fd, 'read', PENDING_BYTE, 1)) return false;
  const isShared = ofdLock(fd, 'read', SHARED_FIRST, SHARED_SIZE);
  ofdLock(fd, 'unlock', PENDING_BYTE, 1);
  if (!isShared) return false;
  try {
    work();
    return true;
  } finally {
    ofdLock(fd, 'unlock', SHARED_FIRST, SHARED_SIZE);
  }
}

/** undefined for a copy that makes no sense since it was written to meanwhile. */
function finished(file: string, of: string, applied: boolean): Whole | undefined {
  try {
    return finish(file, of);
  } catch (error) {
    if (applied && error instanceof LiteFsError && error.code === 'DATABASE_CORRUPT')
      return undefined;
    throw error;
  }
}
