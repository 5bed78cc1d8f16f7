/**
 * The directory of all archives, known by an id of its own: a mount that is not there is not filled in its place, and one
 * that comes back is known again, whatever device it is on then.
 *
 *     <snapshots.dir>/.litefs-lite-id     36 characters, made with the directory's first archive
 *     <data.dir>/archives.json            {<snapshots.dir>: its id}, what was there before
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { DATA_FOLDERS } from '../data-folders.ts';
import { LiteFsError } from '../errors.ts';
import { onDisk, replaceFile } from './archive.ts';

/** The name of a database never begins with a dot there. */
export const IDENTITY_FILE = '.litefs-lite-id';

/**
 * Sees that archives may be written below `dir`, and returns its id. A directory that is used for the first time is made
 * when only it is missing: what lies above it may be a mount that is not there. `memory`: the file that knows its id
 * from then on. A directory with another id is taken as well: disks may take turns. Throws CONFIG when a link leads
 * from `dir` into a folder of data.dir, DISK, DATA_DIR.
 */
export function openPlace(dir: string, memory: string): string {
  refuseOwnFolders(dir, path.dirname(memory));
  const known = readMemory(memory);
  const found = onDisk(dir, () => readIdentity(dir));
  const id = found || beginPlace(dir, found === undefined ? known[dir] : undefined);
  if (known[dir] !== id) {
    onDisk(memory, () => replaceFile(memory, `${JSON.stringify({ ...known, [dir]: id })}\n`));
  }
  return id;
}

/** Whether archives were written below `dir`, and it is another directory now, or none. Throws DISK, DATA_DIR. */
export function isPlaceLost(dir: string, memory: string): boolean {
  if (readMemory(memory)[dir] === undefined) return false;
  return onDisk(dir, () => readIdentity(dir)) === undefined;
}

/** `known`: the id that it should have. */
function beginPlace(dir: string, known: string | undefined): string {
  const file = path.join(dir, IDENTITY_FILE);
  if (known !== undefined) {
    throw new LiteFsError('DISK', `${dir} is not what it was: ${file} is not there`, {
      hint: `Is it mounted? To begin anew in what is there now: touch ${file}`,
    });
  }
  const id = randomUUID();
  onDisk(dir, () => {
    if (!fs.existsSync(dir)) fs.mkdirSync(dir, { mode: 0o700 });
    replaceFile(file, `${id}\n`);
  });
  return id;
}

/** The text of the config tells only where no link is in between. */
function refuseOwnFolders(dir: string, dataDir: string): void {
  const place = onDisk(dir, () => (fs.existsSync(dir) ? fs.realpathSync(dir) : undefined));
  if (place === undefined) return;
  const [own] = path
    .relative(
      onDisk(dataDir, () => fs.realpathSync(dataDir)),
      place,
    )
    .split(path.sep);
  if (own !== '' && !(DATA_FOLDERS as readonly string[]).includes(own)) return;
  throw new LiteFsError('CONFIG', `snapshots.dir (${dir}) leads to ${place}, in data.dir`, {
    hint: 'There are other files. Keep snapshots elsewhere.',
  });
}

/** '' of a file that a person has made; undefined when there is none. */
function readIdentity(dir: string): string | undefined {
  return readText(path.join(dir, IDENTITY_FILE))?.trim();
}

function readMemory(file: string): Record<string, string> {
  const text = onDisk(file, () => readText(file));
  if (text === undefined) return {};
  try {
    return (JSON.parse(text) as Record<string, string> | null) ?? {};
  } catch (error) {
    throw new LiteFsError('DATA_DIR', `${file} makes no sense`, {
      hint: 'Remove it when the disk of snapshots.dir is mounted.',
      cause: error,
    });
  }
}

function readText(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
