/**
 * Applications for tests: processes that run SQL with a SQLite of choice (sqlite-builds.ts), on several connections each,
 * and die when they are told to. sql-driver.c is the program.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import readline from 'node:readline';

const FIELD = '\x1f';
const ROW = '\x1e';

/** What became of a list of statements: all of them, or up to the first error, and then nothing of the transaction. */
export type SqlResult =
  | { readonly ok: true; readonly rows: readonly string[] }
  | { readonly ok: false; readonly error: SqlError }
  /** The process was killed: nobody has said how it ended. */
  | { readonly ok: undefined };

export interface SqlError {
  /** Which of the statements, from 0 on. */
  readonly statement: number;
  /** SQLite's extended result code. */
  readonly code: number;
  readonly message: string;
}

/** A system call of SQLite on one of its files, and which of those that come. */
export interface Fate {
  readonly when: 'before' | 'after';
  readonly call: 'write' | 'sync' | 'truncate' | 'unlink' | 'lock' | 'unlock';
  readonly count: number;
  /** The end of the file's name, such as `-wal`. */
  readonly file: string;
}

/** A system call that a process has stopped at. */
export interface Stop {
  readonly call:
    | 'open'
    | 'close'
    | 'write'
    | 'sync'
    | 'truncate'
    | 'unlink'
    | 'lock'
    | 'unlock'
    | 'sleep';
  /** As the kernel has it, with ` (deleted)` behind the name of a file that has gone. */
  readonly file: string;
  /** Where, of a write; the flags of an open. */
  readonly at: number;
  /** Bytes of a write, the new size of a truncate; of a sleep, microseconds. */
  readonly size: number;
  /** The first bytes of a write. */
  readonly data: Buffer;
}

/** It is done; somebody else has done it; its process dies; it fails with that error number. */
export type StopEnd = 'go' | 'done' | 'die' | { readonly errno: number };

/** Told what the process does, in order. */
export interface StepListener {
  stopped(stop: Stop): void;
  /** The call that it was stopped at has been done. */
  did(result: number): void;
  /** It has answered a request. */
  answered(): void;
  /** It is gone. */
  ended(): void;
}

const HOW = { go: 'g', done: 's', die: 'd' } as const;

export interface WatchOptions {
  /** integrity_check in each so many transactions; 0: in none. */
  readonly checkEach: number;
  /** A new connection for each so many; 0: one for all. */
  readonly reopenEach: number;
  readonly timeoutMs: number;
  /** How long some of the transactions are held open. */
  readonly stayMs: number;
  readonly readonly: boolean;
}

/** What a reader has seen that has looked all the time. */
export interface Watched {
  readonly transactions: number;
  /** How often it met SQLITE_BUSY. */
  readonly busy: number;
  readonly lowest: number;
  readonly highest: number;
  /** The first of them, and how many there were if more. */
  readonly complaints: readonly string[];
}

export class SqlDriver {
  readonly #process: ChildProcess;
  readonly #ended: Promise<string>;
  readonly #waiting: ((line: string | undefined) => void)[] = [];
  readonly #steps: StepListener | undefined;
  #isEnded = false;

  /** `steps`: told of what it stops at, once step() has been asked for. */
  constructor(program: string, steps?: StepListener) {
    this.#steps = steps;
    const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#process = child;
    // Of one that has been killed: its requests are answered as such.
    child.stdin.on('error', () => {});
    readline.createInterface({ input: child.stdout }).on('line', (line) => this.#line(line));
    this.#ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status, signal) => {
        this.#isEnded = true;
        for (const answer of this.#waiting.splice(0)) answer(undefined);
        steps?.ended();
        resolve(`${signal ?? status}`);
      });
    });
  }

  get pid(): number {
    assert(this.#process.pid);
    return this.#process.pid;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** How it ended: an exit status or the name of a signal. */
  get ended(): Promise<string> {
    return this.#ended;
  }

  open(
    file: string,
    options: { connection?: number; timeoutMs?: number; readonly?: boolean } = {},
  ): Promise<SqlResult> {
    const { connection = 0, timeoutMs = 0, readonly = false } = options;
    return this.#request('open', `${connection}`, file, `${timeoutMs}`, readonly ? '1' : '0');
  }

  /** Runs statements; a transaction that is open after an error is rolled back. */
  run(statements: readonly string[], connection = 0): Promise<SqlResult> {
    const sql = statements.map((text) => text.replaceAll(/\s+/g, ' ')).join(ROW);
    return this.#request('run', `${connection}`, sql);
  }

  /** run() that must succeed. Returns the rows, columns with a bar between them. */
  async mustRun(statements: readonly string[], connection = 0): Promise<readonly string[]> {
    const result = await this.run(statements, connection);
    assert(result.ok, `${statements.join('; ')}: ${JSON.stringify(result)}`);
    return result.rows;
  }

  close(connection = 0): Promise<SqlResult> {
    return this.#request('close', `${connection}`);
  }

  /** From now on it kills itself at that call. */
  die({ when, call, count, file }: Fate): Promise<SqlResult> {
    return this.#request('die', when, call, `${count}`, file);
  }

  /** From now on it stops at each system call on a file whose path begins like that. */
  step(path: string): Promise<SqlResult> {
    return this.#request('step', path);
  }

  /** Lets it go on from where it is stopped. */
  go(how: StopEnd): void {
    const text = typeof how === 'string' ? HOW[how] : `e${String.fromCharCode(how.errno)}`;
    this.#process.stdin?.write(text, 'latin1');
  }

  /**
   * Reads all the time, and sees to it that `query` answers `ok` and a number that does not fall, and the same again in the
   * same transaction. Ends when the returned function is called.
   */
  watch(file: string, query: string, options: WatchOptions): () => Promise<Watched> {
    const { checkEach, reopenEach, timeoutMs, readonly, stayMs } = options;
    const numbers = [checkEach, reopenEach, timeoutMs, Number(readonly), stayMs].map(String);
    const done = this.#request('watch', file, query.replaceAll(/\s+/g, ' '), ...numbers);
    return async (): Promise<Watched> => {
      this.#process.stdin?.write('close\x1f0\n');
      this.#waiting.push(() => {});
      const result = await done;
      assert(result.ok, `the reader of ${file} has ended`);
      return watchedOf(result.rows.join(ROW));
    };
  }

  kill(): Promise<string> {
    this.#process.kill('SIGKILL');
    return this.#ended;
  }

  /** Lets it close what it has open, and end. */
  async end(): Promise<string> {
    this.#process.stdin?.end();
    return this.#ended;
  }

  #line(line: string): void {
    const [kind, ...fields] = line.split(FIELD);
    if (kind === 'at') this.#steps?.stopped(stopOf(fields));
    else if (kind === 'did') this.#steps?.did(Number(fields[0]));
    else {
      this.#waiting.shift()?.(line);
      this.#steps?.answered();
    }
  }

  #request(...fields: string[]): Promise<SqlResult> {
    const line = fields.join(FIELD);
    assert(!line.includes('\n'));
    if (this.#isEnded) return Promise.resolve({ ok: undefined });
    return new Promise((resolve) => {
      this.#waiting.push((answer) => {
        resolve(answer === undefined ? { ok: undefined } : resultOf(answer));
      });
      this.send(`${line}\n`);
    });
  }

  /** Hands a request on. */
  protected send(line: string): void {
    this.#process.stdin?.write(line);
  }
}

function stopOf([call, file, at, size, data]: string[]): Stop {
  return {
    call: call as Stop['call'],
    file,
    at: Number(at),
    size: Number(size),
    data: Buffer.from(data, 'hex'),
  };
}

function resultOf(line: string): SqlResult {
  const [kind, ...fields] = line.split(FIELD);
  if (kind === 'ok') {
    const rows = fields.join(FIELD);
    return { ok: true, rows: rows === '' ? [] : rows.split(ROW) };
  }
  const [statement, code, message] = fields;
  return { ok: false, error: { statement: Number(statement), code: Number(code), message } };
}

function watchedOf(text: string): Watched {
  const [transactions, busy, lowest, highest, complaints] = text.split(FIELD);
  return {
    transactions: Number(transactions),
    busy: Number(busy),
    lowest: Number(lowest),
    highest: Number(highest),
    complaints: complaints.split(ROW).filter((complaint) => complaint !== ''),
  };
}
