/** The data directory of a running node: its layout and the lock that keeps a second daemon away. */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import { ofdLock } from '../os/locks.ts';
import { createLayout, type Layout, layoutOf } from '../store/layout.ts';

export interface DataDir {
  readonly layout: Layout;
  release(): void;
}

/**
 * Makes and locks the directory. If the mount is going to hide it (data.dir below fuse.dir), it is reached
 * through a descriptor opened now. Throws DATA_DIR, or DISK when there is no space.
 */
export function openDataDir(dir: string, mountDir: string): DataDir {
  const layout = layoutOf(dir);
  let lock: number | undefined;
  try {
    fs.mkdirSync(layout.root, { recursive: true, mode: 0o700 });
    lock = takeLock(layout.lock, dir);
    // It empties what is for one run, which must not be another daemon's.
    createLayout(layout);
  } catch (error) {
    if (lock !== undefined) fs.closeSync(lock);
    throw error instanceof LiteFsError ? error : unusable(dir, error);
  }
  const hidden = path.resolve(dir).startsWith(`${path.resolve(mountDir)}${path.sep}`);
  const through = hidden
    ? fs.openSync(dir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
    : undefined;
  return {
    layout: through === undefined ? layout : layoutOf(`/proc/self/fd/${through}`),
    release() {
      fs.closeSync(lock);
      if (through !== undefined) fs.closeSync(through);
    },
  };
}

function unusable(dir: string, cause: unknown): LiteFsError {
  const message = `cannot use data.dir ${dir}: ${errorText(cause)}`;
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EIO') {
    return new LiteFsError('DISK', message, { hint: 'Free space on its disk, or mend it.', cause });
  }
  const hint = 'Run as root, or name a directory that you may write to.';
  return new LiteFsError('DATA_DIR', message, { hint, cause });
}

function takeLock(file: string, dir: string): number {
  const fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  if (!ofdLock(fd, 'write', 0, 1)) {
    const pid = fs.readFileSync(fd, 'utf8').trim();
    fs.closeSync(fd);
    throw new LiteFsError(
      'DATA_DIR',
      `another litefs-lite${pid === '' ? '' : ` (process ${pid})`} runs on data.dir ${dir}`,
      { hint: 'Stop it first, or give this one a data.dir of its own.' },
    );
  }
  try {
    fs.ftruncateSync(fd);
    fs.writeSync(fd, `${process.pid}\n`, 0);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
  return fd;
}
