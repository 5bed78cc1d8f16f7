/**
 * Debian's `sqlite3` as a reader of a bank (sqlite-client.ts), with no busy timeout: each transaction checks the sums. With one
 * connection, or a process for each.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';

/** Prints what was moved in all, and twice what the accounts hold, in two statements of one transaction. */
const CHECK = `BEGIN;
SELECT total(n) FROM moves;
SELECT (SELECT sum(n) FROM a) + (SELECT sum(n) FROM b), (SELECT sum(n) FROM b) - (SELECT total(n) FROM moves);
COMMIT;
`;
const SUMS = '40000|20000.0';

export interface ShellReader {
  /** Ends it; how often it has read. Rejects when a read has failed, or told of no state that there was. */
  end(): Promise<number>;
}

export function readByShell(file: string, isKept: boolean): ShellReader {
  let isOver = false;
  const run = isKept ? keep(file, () => isOver) : again(file, () => isOver);
  // Looked at when it is ended.
  run.catch(() => {});
  return {
    end: () => {
      isOver = true;
      return run;
    },
  };
}

async function again(file: string, isOver: () => boolean): Promise<number> {
  let reads = 0;
  for (; !isOver(); reads++) await keep(file, () => true);
  return reads;
}

/** One process; it reads once at least. */
function keep(file: string, isOver: () => boolean): Promise<number> {
  const child = spawn('sqlite3', ['-batch', '-bail', '-readonly', file], { stdio: 'pipe' });
  let reads = 0;
  let lines = '';
  let errors = '';
  child.stderr.on('data', (text) => (errors += text));
  // After an error it is gone before it has read all.
  child.stdin.on('error', () => {});
  child.stdin.write(CHECK);
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (text) => {
      lines += text;
      const [, sums, rest] = lines.split('\n');
      if (rest === undefined) return;
      lines = '';
      try {
        assert.equal(sums, SUMS);
      } catch (error) {
        child.kill();
        reject(error);
        return;
      }
      reads++;
      if (isOver()) child.stdin.end();
      else child.stdin.write(CHECK);
    });
    child.on('error', reject);
    child.on('close', (status) => {
      if (status === 0) resolve(reads);
      else reject(new Error(`sqlite3 ended with ${status}: ${errors}`));
    });
  });
}
