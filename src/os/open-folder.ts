/** Directories that are the way of users to what is theirs, whatever the umask says of what is ours. */
import fs from 'node:fs';

const UMASK = 0o022;

/**
 * Makes a directory that all users may pass through, and those above it that are missing. Each has its mode from the
 * beginning: a process that dies here leaves none that is shut. In the main thread: the umask is the process's.
 * @throws as fs.mkdirSync does
 */
export function makeOpenFolder(dir: string): void {
  const before = process.umask(UMASK);
  try {
    fs.mkdirSync(dir, { recursive: true });
  } finally {
    process.umask(before);
  }
}
