/**
 * Applications of users without rights, with no busy timeout unless they say so. Debian's sqlite3 is started as such a user;
 * better-sqlite3 is loaded first, since they may not be able to read the checkout:
 * `node other-user.ts <uid> <gid> <job> <file> <busy timeout>`, where the job is
 *
 * - once: reads the bank (sqlite-client.ts) and prints the number of its moves and how many ms that took;
 * - loop: does so again and again, each time by a new connection, until its standard input ends. Before each the file must be
 *   there, else it is `absent` and not opened. Prints `ready`, then what it did;
 * - script: runs the JavaScript of one more argument.
 *
 * Any error ends it with status 1.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import readline from 'node:readline';
import Sqlite from 'better-sqlite3';
import { checkBank } from './sqlite-client.ts';

export interface User {
  readonly uid: number;
  readonly gid: number;
}

export const NOBODY: User = { uid: 65534, gid: 65534 };
/** Between two looks for a file that is not there. */
const ABSENT_MS = 1;

export interface Reading {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Of sqlite3 with the start of its process. */
  readonly ms: number;
}

/** `sqlite3 file sql`, which waits for no lock. */
export function sqlite3As(user: User, file: string, sql: string): Reading {
  const words = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', 'sqlite3'];
  return run('setpriv', [...words, '-batch', '-bail', file, sql]);
}

/** Reads the bank by better-sqlite3. */
export function readBankAs(user: User, file: string): Reading {
  const reading = run(process.execPath, clientArguments(user, 'once', file, 0));
  const [moves, ms] = reading.stdout.split(' ');
  return { ...reading, stdout: moves, ms: Number(ms) };
}

/** Runs JavaScript, as the body of a function of `fs` and `file`. */
export function scriptAs(user: User, file: string, script: string): void {
  const { status, stderr } = run(process.execPath, [
    ...clientArguments(user, 'script', file, 0),
    script,
  ]);
  assert.equal(status, 0, stderr);
}

export interface Loop {
  /** Waits until it runs. */
  readonly ready: Promise<unknown>;
  /** Ends it. Rejects when anything failed. */
  end(): Promise<{ reads: number; absent: number }>;
}

/** Reads the bank all the time. */
export function loopAs(user: User, file: string, busyTimeout = 0): Loop {
  const child = spawn(process.execPath, clientArguments(user, 'loop', file, busyTimeout));
  let errors = '';
  child.stderr.on('data', (text) => (errors += text));
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  child.stdin.on('error', () => {});
  return { ready: lines.next(), end: () => endLoop(child, lines, ended, () => errors) };
}

async function endLoop(
  child: ChildProcess,
  lines: AsyncIterator<string>,
  ended: Promise<number | null>,
  errors: () => string,
): Promise<{ reads: number; absent: number }> {
  child.stdin?.end();
  const last = await lines.next();
  assert.equal(await ended, 0, errors());
  return JSON.parse(last.value);
}

function clientArguments(user: User, job: string, file: string, timeout: number): string[] {
  return [import.meta.filename, `${user.uid}`, `${user.gid}`, job, file, `${timeout}`];
}

function run(command: string, args: string[]): Reading {
  const startedMs = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  return { status, stdout: stdout.trim(), stderr, ms: performance.now() - startedMs };
}

function becomeUser(uid: number, gid: number): void {
  // Its native part is loaded by the first connection.
  new Sqlite(':memory:').close();
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

function readOnce(file: string, timeout: number): number {
  const db = new Sqlite(file, { readonly: true, timeout });
  try {
    return checkBank(db);
  } finally {
    db.close();
  }
}

function readAndTell(file: string, timeout: number): void {
  const startedMs = performance.now();
  const moves = readOnce(file, timeout);
  process.stdout.write(`${moves} ${performance.now() - startedMs}\n`);
}

function readUntilEnd(file: string, timeout: number): void {
  const counts = { reads: 0, absent: 0 };
  let ended = false;
  process.stdin.resume().on('end', () => {
    ended = true;
  });
  process.stdout.write('ready\n');
  const step = () => {
    const isThere = fs.existsSync(file);
    if (isThere) {
      readOnce(file, timeout);
      counts.reads++;
    } else counts.absent++;
    if (ended) process.stdout.write(`${JSON.stringify(counts)}\n`);
    else if (isThere) setImmediate(step);
    // Whatever makes it needs the processor.
    else setTimeout(step, ABSENT_MS);
  };
  step();
}

if (import.meta.main) {
  const [uid, gid, job, file, timeout, script] = process.argv.slice(2);
  becomeUser(Number(uid), Number(gid));
  if (job === 'once') readAndTell(file, Number(timeout));
  else if (job === 'loop') readUntilEnd(file, Number(timeout));
  else new Function('fs', 'file', script)(fs, file);
}
