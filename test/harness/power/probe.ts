/**
 * Looks at databases for the harness, in a process of its own (`node probe.ts`): a file that hangs must not take the
 * harness along. One question a line, a path; one answer a line, as JSON.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import readline from 'node:readline';
import Sqlite from 'better-sqlite3';
import { type BankState, faultOf, stateOf } from './bank.ts';
import { checksumOf } from './pages.ts';

/** What a reader finds. */
export interface Sighting {
  readonly exists: boolean;
  /** Why it is not sound, or cannot be read. */
  readonly fault?: string;
  /** Which state of a bank it is in; absent when it says of none. */
  readonly state?: BankState;
  /** The checksum that a position of it would have; absent when it cannot be read, or has no page. */
  readonly checksum?: string;
  readonly hash?: string;
}

const ANSWER_MS_MAX = 30_000;

export class Probe {
  #child: ChildProcess | undefined;
  #lines: AsyncIterator<string> | undefined;

  /**
   * `writable`: SQLite may recover it, as the first application does; else it is opened read-only. What hangs or ends the
   * process that reads it is a fault of it.
   */
  async look(file: string, writable = false): Promise<Sighting> {
    if (!this.#child) this.#start();
    this.#child?.stdin?.write(`${JSON.stringify({ file, writable })}\n`);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), ANSWER_MS_MAX);
    });
    const answer = await Promise.race([this.#lines?.next(), late]);
    clearTimeout(timer);
    if (answer && !answer.done) return JSON.parse(answer.value) as Sighting;
    this.close();
    return { exists: true, fault: answer ? 'it ends who reads it' : 'it cannot be read in time' };
  }

  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  #start(): void {
    const child = spawn(process.execPath, [import.meta.filename], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child = child;
    this.#lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }
}

/** What was found of an image before, by its hash: to look takes 50 ms. */
const known = new Map<string, Sighting>();

function look(file: string, writable: boolean): Sighting {
  // A replica's first pages may be in its -wal alone.
  if (!hasBytes(file) && !(fs.existsSync(file) && hasBytes(`${file}-wal`)))
    return { exists: false };
  let db: Sqlite.Database | undefined;
  try {
    db = new Sqlite(file, { readonly: !writable, timeout: 5000 });
    // What is no database at all says so here; serialize() would not.
    db.prepare('SELECT count(*) FROM sqlite_schema').get();
    const image = db.serialize();
    const hash = createHash('md5').update(image).digest('hex');
    const sighting = known.get(hash) ?? sightingOf(db, image, hash);
    known.set(hash, sighting);
    return sighting;
  } catch (error) {
    return { exists: true, fault: (error as Error).message };
  } finally {
    db?.close();
  }
}

function hasBytes(file: string): boolean {
  return (fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

function sightingOf(db: Sqlite.Database, image: Buffer, hash: string): Sighting {
  const checksum = image.length > 0 ? checksumOf(image) : undefined;
  try {
    return { exists: true, hash, checksum, state: stateOf(db), fault: faultOf(db) };
  } catch (error) {
    return { exists: true, hash, checksum, fault: (error as Error).message };
  }
}

if (import.meta.main) {
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const { file, writable } = JSON.parse(line) as { file: string; writable: boolean };
    process.stdout.write(`${JSON.stringify(look(file, writable))}\n`);
  });
}
