/**
 * An unprivileged process that lets pairs of names change places as fast as it can: `swapper.ts UID PAIRS`, PAIRS in JSON.
 * A name that is not there yet is tried again, so one that is just being made is swapped at once.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cString, rename } from '../../src/os/libc.ts';

const RENAME_EXCHANGE = 2;

/** Runs it while `work` does, from before its beginning. Resolves with how often names changed places. */
export async function whileSwapping(
  uid: number,
  pairs: readonly (readonly [string, string])[],
  work: () => Promise<void>,
): Promise<number> {
  const args = [import.meta.filename, `${uid}`, JSON.stringify(pairs)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  try {
    await Promise.race([
      once(child.stdout, 'data'),
      exit.then(() => Promise.reject(child.exitCode)),
    ]);
    await work();
  } finally {
    child.stdin.end();
  }
  const count = await lastNumber(child);
  await exit;
  return count;
}

async function lastNumber(child: ChildProcess): Promise<number> {
  let text = '';
  for await (const chunk of child.stdout ?? []) text += chunk;
  return Number(text.trim());
}

if (import.meta.main) {
  const uid = Number(process.argv[2]);
  const pairs = (JSON.parse(process.argv[3]) as [string, string][]).map(([a, b]) => [
    cString(a),
    cString(b),
  ]);
  process.setgroups?.([]);
  process.setgid?.(uid);
  process.setuid?.(uid);
  let isOver = false;
  process.stdin.on('end', () => {
    isOver = true;
  });
  process.stdin.resume();
  process.stdout.write('ready\n');
  let count = 0;
  const swap = () => {
    for (let i = 0; i < 50; i++)
      for (const [a, b] of pairs) if (rename(a, b, RENAME_EXCHANGE) === 0) count++;
    if (isOver) process.stdout.write(`${count}\n`);
    else setImmediate(swap);
  };
  swap();
}
