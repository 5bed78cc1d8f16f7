/** A keeper of archives with real archives, and a source and a clock of our own, for a suite of tests. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, mock } from 'node:test';
import pino from 'pino';
import { LiteFsError } from '../../../src/errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../../../src/kernels/checksum.ts';
import { SnapshotKeeper, type SnapshotKeeperOptions } from '../../../src/snapshots/keeper.ts';
import type { SnapshotSource } from '../../../src/snapshots/source.ts';
import { snapshotTasks } from '../../../src/snapshots/tasks.ts';
import type { RunTask } from '../../../src/snapshots/thread.ts';

export const PAGE = Buffer.alloc(512, 'x');
export const POSITION = { txid: 3, checksum: pageChecksum(1, PAGE) | CHECKSUM_FLAG };

type Listener = (entry: { readonly database: string }) => void;

/** Databases of one page, which is what a test sets. */
export class KeeperStand {
  folder = '';
  names = ['app.db'];
  page = PAGE;
  position = POSITION;
  readonly listeners = new Set<Listener>();
  /** Databases whose snapshots fail, and all that were tried. */
  readonly busy = new Set<string>();
  readonly cuts: string[] = [];
  /** What the log was told to keep. */
  readonly pins: Record<string, number>[] = [];
  /** The log has what follows that transaction. */
  logBegin = 0;
  /** Snapshots that were cut at once, at most. */
  most = 0;
  /** How long each takes to be finished. */
  delayMs = 0;
  /** How long the machine has slept, which timers do not notice. */
  sleptMs = 0;
  /** What it slept, in ms: no time passes. */
  readonly slept: number[] = [];
  /** Lines of the log. */
  readonly logged: string[] = [];
  /** Tasks that were run. */
  readonly ran: string[] = [];
  #running = 0;
  keeper: SnapshotKeeper | undefined;

  begin(): void {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  }

  async end(): Promise<void> {
    await this.keeper?.close();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  told(): string[] {
    const file = path.join(this.folder, 'told');
    // Whole lines only: the last one may still be on its way.
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  }

  /** The schedule was served long ago. */
  missARun(): void {
    const served = JSON.stringify({ servedUntil: '2026-01-01T00:00:00Z' });
    fs.writeFileSync(path.join(this.folder, 'snapshot-run.json'), served);
  }

  keeperOf(options: Partial<SnapshotKeeperOptions>): SnapshotKeeper {
    const { folder } = this;
    this.keeper = new SnapshotKeeper(
      {
        dir: path.join(folder, 'backups'),
        schedule: ['0 3 1 1 *'],
        timezone: 'UTC',
        databases: undefined,
        incrementsMs: 0,
        check: 'quick',
        compress: true,
        rateMax: 0,
        scratchDir: folder,
        placesFile: path.join(folder, 'archives.json'),
        writer: () => ({ cluster: 'c', node: 'n', hostname: 'box1' }),
        runFile: path.join(folder, 'snapshot-run.json'),
        keep: { last: 3, hourly: 0, daily: 0, weekly: 0, monthly: 0, withinMs: 0 },
        pre: undefined,
        hookMsMax: 60_000,
        post: `echo $LITEFS_SNAPSHOT_RESULT $LITEFS_SNAPSHOT_ERRORS >> ${folder}/told`,
        ...options,
      },
      {
        source: this.#source(),
        run: this.#runner(),
        clock: { wallMs: () => Date.now() + this.sleptMs, monotonicMs: () => performance.now() },
        sleep: async (ms) => void this.slept.push(ms),
        log: pino({ base: undefined }, { write: (line: string) => void this.logged.push(line) }),
      },
    );
    return this.keeper;
  }

  #runner(): RunTask {
    const tasks = snapshotTasks();
    return async (task, args) => {
      const { delayMs } = this;
      this.ran.push(task);
      if (task === 'begin') this.most = Math.max(this.most, ++this.#running);
      try {
        if (task === 'finish' && delayMs > 0) await new Promise((end) => setTimeout(end, delayMs));
        return (tasks[task] as (args: unknown) => never)(args);
      } finally {
        if (task === 'finish' || task === 'abort') this.#running--;
      }
    };
  }

  #source(): SnapshotSource {
    return {
      positions: () => new Map(this.names.map((name) => [name, this.position])),
      onEntry: (listener: Listener) => {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
      },
      pin: (_, txids) => void this.pins.push(Object.fromEntries(txids)),
      readLog: async (_, { txid }) =>
        txid < this.logBegin
          ? { kind: 'unavailable', reason: 'the log no longer has it' }
          : { kind: 'entries', entries: [] },
      cutPages: async (database) => this.#cut(database),
    };
  }

  #cut(database: string): Awaited<ReturnType<SnapshotSource['cutPages']>> {
    const { page, position } = this;
    this.cuts.push(database);
    if (this.busy.has(database)) throw new LiteFsError('DATABASE_BUSY', 'somebody holds it');
    let isRead = false;
    return {
      position,
      pageSize: PAGE.length,
      pageCount: this.names.includes(database) ? 1 : 0,
      async nextInto(into) {
        if (isRead) return 0;
        isRead = true;
        const bytes = Buffer.from(into);
        bytes.writeUInt32BE(1, 0);
        return 4 + page.copy(bytes, 4);
      },
      end: position,
      close() {},
    };
  }
}

/** A stand that is new for each test of a suite. */
export function standForEach(): () => KeeperStand {
  let stand: KeeperStand;
  beforeEach(() => {
    stand = new KeeperStand();
    stand.begin();
  });
  afterEach(async () => {
    mock.timers.reset();
    await stand.end();
  });
  return () => stand;
}
