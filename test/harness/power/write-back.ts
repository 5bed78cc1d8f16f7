/**
 * The kernel at its liberty, a process of its own: `node write-back.ts <seed> <directory>...`. What is dirty in memory may
 * go to the disk at any moment and in any order: this has parts of random files below the directories written back, without
 * a flush, and now and then a whole journal commit made, as another program's fsync does. Until its standard input ends.
 */
import fs from 'node:fs';
import path from 'node:path';
import { SYNC_FILE_RANGE_WRITE, syncFileRange } from '../../../src/os/libc.ts';
import { SeededRandom } from '../random.ts';

const PAUSE_MS_MAX = 30;
const RANGE_BYTES_MAX = 256 << 10;

function writeBackSome(file: string, random: SeededRandom): void {
  const fd = fs.openSync(file, 'r');
  try {
    const { size } = fs.fstatSync(fd);
    const all = random.below(3) === 0;
    const from = all ? 0 : random.below(Math.max(1, size >>> 12)) << 12;
    const length = all ? 0 : (1 + random.below(RANGE_BYTES_MAX >>> 12)) << 12;
    syncFileRange(fd, from, length, SYNC_FILE_RANGE_WRITE);
  } finally {
    fs.closeSync(fd);
  }
}

function commitJournal(dir: string): void {
  const fd = fs.openSync(path.join(dir, 'another-program'), 'a');
  fs.writeSync(fd, '.');
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

function filesBelow(dir: string): string[] {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('-shm'))
    .map((entry) => path.join(entry.parentPath, entry.name));
}

const [seed, ...dirs] = process.argv.slice(2);
const random = new SeededRandom(Number(seed));

function step(): void {
  const dir = random.pick(dirs);
  try {
    if (random.below(12) === 0) {
      commitJournal(dir);
    } else {
      const files = filesBelow(path.join(dir, 'data'));
      if (files.length > 0) writeBackSome(random.pick(files), random);
    }
  } catch (error) {
    // Files come and go.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  setTimeout(step, random.below(PAUSE_MS_MAX));
}

process.stdin.resume().on('end', () => process.exit(0));
step();
