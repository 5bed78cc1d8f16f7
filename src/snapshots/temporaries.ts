/**
 * Files that are made under a name of their own, and renamed or removed in the end. What a crash of the machine has left
 * of them is known by that name: `.litefs-lite-<UUID>.tmp`.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { tryOnDisk } from './archive.ts';

const NAME = /^\.litefs-lite-[0-9a-f-]{36}\.tmp(-wal|-shm|-journal)?$/;
/** Somebody may still be at work on a younger one. */
const AGE_MS_MIN = 24 * 3_600_000;

/** A name for a file that is being made in `dir`. */
export function temporaryIn(dir: string): string {
  return path.join(dir, `.litefs-lite-${randomUUID()}.tmp`);
}

/** Removes what has been left in `dir` for a day, as far as that can be done: files, or folders by another `name`. */
export function sweepTemporaries(dir: string, name = NAME): void {
  tryOnDisk(() => {
    for (const entry of fs.existsSync(dir) ? fs.readdirSync(dir) : []) {
      const file = path.join(dir, entry);
      if (!name.test(entry)) continue;
      const { uid, mtimeMs } = fs.lstatSync(file);
      // In /tmp others can make such names, and change what is below them meanwhile.
      if (uid !== process.getuid?.() || Date.now() - mtimeMs < AGE_MS_MIN) continue;
      fs.rmSync(file, { recursive: true, force: true });
    }
  });
}
