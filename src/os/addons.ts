/**
 * Native addons inside the executable. The system's loader wants a file: where that file is must be a place that
 * no other user can write to, and that is not mounted noexec. In order:
 *
 * 1. ../lib/litefs-lite/<name>.node beside the executable's folder: the .deb puts it there;
 * 2. a file without a name (O_TMPFILE) in $RUNTIME_DIRECTORY, /dev/shm or /run;
 * 3. <sha-256>-<name>.node in a folder of ours alone: /var/cache/litefs-lite, or below $XDG_CACHE_HOME.
 *
 * Each is opened, compared with the bytes inside the executable, and loaded by its descriptor, so that what was
 * compared is what is loaded. All threads load one inode: a second copy of SQLite in a process would not know
 * the locks of the first.
 */
import { createHash, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { getRawAsset } from 'node:sea';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { errorText } from '../errors.ts';

const ADDONS = ['koffi', 'better-sqlite3'] as const;
export type AddonName = (typeof ADDONS)[number];

const O_TMPFILE = process.arch === 'arm64' ? 0o20040000 : 0o20200000;
const WRITABLE_BY_OTHERS = 0o022;

/** What the addon exports. Throws an Error that names every place that was tried. */
export function loadAddon(name: AddonName): unknown {
  const module = { exports: {} };
  const known = getEnvironmentData(keyOf(name));
  if (typeof known === 'string') {
    process.dlopen(module, known);
    return module.exports;
  }
  const bytes = Buffer.from(getRawAsset(`${name}.node`));
  const failures: string[] = [];
  for (const { where, open } of placesFor(name, bytes)) {
    let fd: number | undefined;
    try {
      fd = open();
      if (!fs.readFileSync(`/proc/self/fd/${fd}`).equals(bytes)) throw new Error('is another file');
      const file = `/proc/self/fd/${fd}`;
      process.dlopen(module, file);
      // The descriptor stays: the workers load the file by it.
      setEnvironmentData(keyOf(name), file);
      return module.exports;
    } catch (error) {
      if (fd !== undefined) fs.closeSync(fd);
      failures.push(`${where}: ${errorText(error)}`);
    }
  }
  throw new Error(
    `the native addon ${name} cannot be loaded from anywhere: ${failures.join('; ')}`,
  );
}

/** Before the first worker: it then finds each addon where the main thread has it. */
export function shareAddons(): void {
  for (const name of ADDONS) {
    if (getEnvironmentData(keyOf(name)) === undefined) loadAddon(name);
  }
}

interface Place {
  readonly where: string;
  /** A descriptor for reading, with the offset at 0. */
  open(): number;
}

function* placesFor(name: AddonName, bytes: Buffer): Generator<Place> {
  const installed = path.join(path.dirname(process.execPath), '../lib/litefs-lite', `${name}.node`);
  yield { where: installed, open: () => openTrusted(installed) };
  for (const dir of [process.env.RUNTIME_DIRECTORY, '/dev/shm', '/run']) {
    if (dir)
      yield { where: `a file without a name in ${dir}`, open: () => openUnnamed(dir, bytes) };
  }
  const file = path.join(
    cacheDir(),
    `${createHash('sha256').update(bytes).digest('hex')}-${name}.node`,
  );
  yield { where: file, open: () => openCached(file, bytes) };
}

/** A file that only root or we ourselves may write. */
function openTrusted(file: string): number {
  const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  const { uid, mode } = fs.fstatSync(fd);
  if ((uid === 0 || uid === process.getuid?.()) && (mode & WRITABLE_BY_OTHERS) === 0) return fd;
  fs.closeSync(fd);
  throw new Error('others may write to it');
}

function openUnnamed(dir: string, bytes: Buffer): number {
  const writable = fs.openSync(dir, O_TMPFILE | fs.constants.O_RDWR, 0o700);
  try {
    fs.writeSync(writable, bytes);
    // One that is open for writing cannot be mapped as code on every kernel: it is opened again.
    return fs.openSync(`/proc/self/fd/${writable}`, 'r');
  } finally {
    fs.closeSync(writable);
  }
}

function openCached(file: string, bytes: Buffer): number {
  const dir = path.dirname(file);
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const { uid, mode } = fs.lstatSync(dir);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) {
    throw new Error(`${dir} must be ours alone (mode 0700)`);
  }
  if (!fs.existsSync(file)) {
    const temporary = `${file}.${randomUUID()}`;
    fs.writeFileSync(temporary, bytes, { mode: 0o700, flag: 'wx' });
    fs.renameSync(temporary, file);
  }
  return openTrusted(file);
}

function cacheDir(): string {
  if (process.getuid?.() === 0) return '/var/cache/litefs-lite';
  const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
  return path.join(cache, 'litefs-lite');
}

function keyOf(name: AddonName): string {
  return `litefs-lite addon ${name}`;
}
