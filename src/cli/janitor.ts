/**
 * Removes what a command has made for itself, however that ends: a process of its own waits for the end of ours. A handler
 * of SIGINT would have to wait for work that does not return to the event loop, and SIGKILL has none.
 */
import { spawn } from 'node:child_process';

const SCRIPT = 'trap "" INT TERM HUP; cat > /dev/null; rm -rf -- "$@"';

/**
 * From now on these are removed when this process ends, if they are still there; or when what is returned is called. They
 * may still be there when that returns.
 */
export function removeAtEnd(...paths: readonly string[]): () => void {
  const janitor = spawn('/bin/sh', ['-c', SCRIPT, 'sh', ...paths], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  // Without it something may be left, which the next command removes a day later.
  janitor.on('error', () => {});
  janitor.stdin?.on('error', () => {});
  janitor.unref();
  (janitor.stdin as { unref?(): void } | null)?.unref?.();
  return () => janitor.stdin?.end();
}

/** The same for a database file and what SQLite makes beside it. */
export function removeDatabaseAtEnd(file: string): void {
  removeAtEnd(...['', '-wal', '-shm', '-journal'].map((suffix) => file + suffix));
}
