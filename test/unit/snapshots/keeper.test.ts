/** The keeper of a node's archives, with real archives, and a source and a clock of our own. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import pino from 'pino';
import { LiteFsError } from '../../../src/errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../../../src/kernels/checksum.ts';
import { Archive, archivedDatabases } from '../../../src/snapshots/archive.ts';
import { SNAPSHOT_LEVEL } from '../../../src/snapshots/archive-file.ts';
import { checkFile } from '../../../src/snapshots/image.ts';
import { SnapshotKeeper, type SnapshotKeeperOptions } from '../../../src/snapshots/keeper.ts';
import { restore } from '../../../src/snapshots/restore.ts';
import type { SnapshotSource } from '../../../src/snapshots/source.ts';
import { snapshotTasks } from '../../../src/snapshots/tasks.ts';
import type { RunTask } from '../../../src/snapshots/thread.ts';
import { until } from '../../harness/cluster.ts';

const PAGE = Buffer.alloc(512, 'x');
const POSITION = { txid: 3, checksum: pageChecksum(1, PAGE) | CHECKSUM_FLAG };

type Listener = (entry: { readonly database: string }) => void;
const listeners = new Set<Listener>();

/** Databases of one page, which is what a test sets. */
let names = ['app.db'];
let page = PAGE;
let position = POSITION;
/** Databases whose snapshots fail, and all that were tried. */
const busy = new Set<string>();
const cuts: string[] = [];
/** What the log was told to keep. */
const pins: Record<string, number>[] = [];
/** The log has what follows that transaction. */
let logBegin = 0;
const fakeSource: SnapshotSource = {
  positions: () => new Map(names.map((name) => [name, position])),
  onEntry(listener: Listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  pin: (_, txids) => void pins.push(txids),
  readLog: async (_, { txid }) =>
    txid < logBegin
      ? { kind: 'unavailable', reason: 'the log no longer has it' }
      : { kind: 'entries', entries: [] },
  async cutPages(database) {
    cuts.push(database);
    if (busy.has(database)) throw new LiteFsError('DATABASE_BUSY', 'somebody holds it');
    let isRead = false;
    return {
      position,
      pageSize: PAGE.length,
      pageCount: names.includes(database) ? 1 : 0,
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
  },
};

describe('the keeper of snapshots', () => {
  let folder: string;
  let keeper: SnapshotKeeper | undefined;
  /** Tasks that run now, and the most that ever did. */
  let running = 0;
  let most = 0;
  let delayMs = 0;
  /** How long the machine has slept, which timers do not notice. */
  let sleptMs = 0;
  /** What it slept, in ms: no time passes. */
  const slept: number[] = [];
  /** Lines of the log. */
  const logged: string[] = [];
  /** Tasks that were run. */
  const ran: string[] = [];
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
    [running, most, delayMs, sleptMs] = [0, 0, 0, 0];
    [names, page, position, logBegin] = [['app.db'], PAGE, POSITION, 0];
    slept.length = 0;
    logged.length = 0;
    cuts.length = 0;
    ran.length = 0;
    busy.clear();
    pins.length = 0;
  });
  afterEach(async () => {
    mock.timers.reset();
    await keeper?.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  const told = () => {
    const file = path.join(folder, 'told');
    // Whole lines only: the last one may still be on its way.
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  };

  /** The schedule was served long ago. */
  function missARun(): void {
    const served = JSON.stringify({ servedUntil: '2026-01-01T00:00:00Z' });
    fs.writeFileSync(path.join(folder, 'snapshot-run.json'), served);
  }

  function keeperOf(options: Partial<SnapshotKeeperOptions>): SnapshotKeeper {
    const tasks = snapshotTasks();
    const run: RunTask = async (task, args) => {
      ran.push(task);
      if (task === 'begin') most = Math.max(most, ++running);
      try {
        if (task === 'finish' && delayMs > 0) await new Promise((end) => setTimeout(end, delayMs));
        return (tasks[task] as (args: unknown) => never)(args);
      } finally {
        if (task === 'finish' || task === 'abort') running--;
      }
    };
    keeper = new SnapshotKeeper(
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
        runFile: path.join(folder, 'snapshot-run.json'),
        keep: { last: 3, hourly: 0, daily: 0, weekly: 0, monthly: 0, withinMs: 0 },
        pre: undefined,
        hookMsMax: 60_000,
        post: `echo $LITEFS_SNAPSHOT_RESULT $LITEFS_SNAPSHOT_ERRORS >> ${folder}/told`,
        ...options,
      },
      {
        source: fakeSource,
        run,
        clock: { wallMs: () => Date.now() + sleptMs, monotonicMs: () => performance.now() },
        sleep: async (ms) => void slept.push(ms),
        log: pino({ base: undefined }, { write: (line: string) => void logged.push(line) }),
      },
    );
    return keeper;
  }

  it('never lets two runs overlap: not while the command before one goes on, nor when asked for', async () => {
    const own = keeperOf({ schedule: ['* * * * * *'], pre: `echo . >> ${folder}/pre; sleep 2.5` });
    own.start();
    delayMs = 300;
    const asked = await Promise.all([own.snapshot(), own.snapshot(), own.snapshot()]);
    assert.deepEqual(
      asked.map(({ snapshots, unchanged }) => [snapshots.length, unchanged.length]),
      [
        [1, 0],
        [0, 1],
        [0, 1],
      ],
    );
    await until('two runs by the clock', () => told().length >= 2);
    assert.equal(most, 1);
    const begun = fs.readFileSync(path.join(folder, 'pre'), 'utf8').trim().split('\n').length;
    assert(begun <= told().length + 1, `${begun} begun, ${told().length} ended`);
  });

  it('tells of increments that fail, once, and once when they go on', async () => {
    fs.writeFileSync(path.join(folder, 'backups'), 'in its place');
    const own = keeperOf({ incrementsMs: 20 });
    own.start();
    await until(
      () => `told ${own.warnings()}`,
      () => told().length === 1,
    );
    assert.match(told()[0], /^failed snapshots/);
    assert(own.warnings().length > 0);
    for (let round = 0; round < 5; round++) {
      for (const listener of listeners) listener({ database: 'app.db' });
      await new Promise((end) => setTimeout(end, 30));
    }
    assert.equal(told().length, 1, told().join('; '));
    fs.rmSync(path.join(folder, 'backups'));
    await until(
      () => `told again: ${told()} ${own.warnings()}`,
      () => told().length === 2,
    );
    assert.equal(told()[1], 'ok');
    assert.deepEqual(own.warnings(), []);
  });

  it('makes up for a missed run, and tries it again until it goes well', async () => {
    mock.timers.enable({ apis: ['setInterval'] });
    missARun();
    fs.writeFileSync(path.join(folder, 'no'), '');
    const own = keeperOf({ schedule: ['0 0 * * *'], pre: `test ! -e ${folder}/no` });
    own.start();
    await until('a run that failed', () => told().length === 1);
    assert.match(told()[0], /^failed the command pre failed/);
    mock.timers.tick(5 * 60_000);
    await new Promise((end) => setTimeout(end, 100));
    assert.equal(told().length, 1, 'told once');
    assert.equal(own.lastRun?.ok, false);
    fs.rmSync(path.join(folder, 'no'));
    mock.timers.tick(5 * 60_000);
    await until('a run that went well', () => told().length === 2);
    assert.equal(told()[1], 'ok');
    assert.deepEqual(
      own.lastRun?.snapshots.map(({ file }) => file.maxTxid),
      [POSITION.txid],
    );
  });

  it('tries only those again of a run that have failed, and then tells of it', async () => {
    mock.timers.enable({ apis: ['setInterval'] });
    names = ['bad.db', 'good.db'];
    busy.add('bad.db');
    missARun();
    keeperOf({ schedule: ['0 0 * * *'] }).start();
    await until('a run that failed', () => told().length === 1);
    assert.match(told()[0], /^failed bad\.db: somebody holds it/);
    position = { ...POSITION, txid: 4 };
    const later = (condition: () => boolean) => () => {
      mock.timers.tick(5 * 60_000);
      return condition();
    };
    await until(
      'tried again, and again',
      later(() => cuts.length >= 4),
    );
    assert.equal(told().length, 1, told().join('; '));
    busy.clear();
    await until(
      'a run that went well',
      later(() => told().length === 2),
    );
    assert.equal(told()[1], 'ok');
    assert.deepEqual(
      cuts.filter((database) => database === 'good.db'),
      ['good.db'],
    );
    assert.deepEqual(keeper?.warnings(), []);
  });

  it('tidies also while nothing can be written, and does not take that for an end of the trouble', async () => {
    mock.timers.enable({ apis: ['setInterval'] });
    busy.add('app.db');
    const own = keeperOf({ incrementsMs: 20, post: undefined });
    own.start();
    await until('it fails', () => own.warnings().length === 1);
    mock.timers.tick(5 * 60_000);
    await until('tidied', () => ran.includes('tidy'));
    await own.list();
    assert.match(own.warnings().join(), /somebody holds it/);
  });

  it('makes up for what was slept through, once, though nothing has changed, and not at the next start', async () => {
    mock.timers.enable({ apis: ['setInterval'] });
    const options = { schedule: ['0 3 * * *'] };
    const first = keeperOf(options);
    first.start();
    await until('begun', () => fs.existsSync(path.join(folder, 'snapshot-run.json')));
    for (const [runs, own] of [
      [1, first],
      [2, undefined],
      [3, undefined],
    ] as const) {
      if (!own) {
        await keeper?.close();
        const again = keeperOf(options);
        again.start();
        await again.snapshot();
        await again.list();
        assert.equal(again.lastRun, undefined, 'nothing was missed');
      }
      sleptMs += 24 * 3_600_000;
      await until(`${runs} runs`, () => {
        mock.timers.tick(5 * 60_000);
        return told().length >= runs;
      });
      assert.deepEqual(told(), Array(runs).fill('ok'));
      const startedAgoMs = Date.now() + sleptMs - (keeper?.lastRun?.startedAtMs ?? 0);
      assert(startedAgoMs < 60_000, 'not before it slept');
    }
  });

  it('cuts a snapshot anew that is damaged, and only then lets go of an older one', async () => {
    const keep = { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, withinMs: 0 };
    const archive = new Archive(path.join(folder, 'backups', 'app.db'));
    const first = keeperOf({});
    first.start();
    await first.snapshot();
    await first.close();
    const [newest] = archive.list();
    const old = archive.pathOf({ level: SNAPSHOT_LEVEL, minTxid: 1, maxTxid: 1 });
    fs.copyFileSync(archive.pathOf(newest), old);
    const whole = fs.readFileSync(archive.pathOf(newest));
    const bytes = Buffer.from(whole);
    bytes[bytes.length - 1] ^= 1;
    fs.writeFileSync(archive.pathOf(newest), bytes);
    const own = keeperOf({
      schedule: ['* * * * * *'],
      keep,
      post: `test -e ${old} && touch ${folder}/kept`,
    });
    own.start();
    await until('told that it is damaged', () =>
      own.warnings().join().includes(archive.pathOf(newest)),
    );
    await until('the older one is gone', () => !fs.existsSync(old));
    assert(fs.existsSync(path.join(folder, 'kept')));
    await until('all well', () => own.warnings().length === 0);
    checkFile(archive.pathOf(newest));
  });

  it('has nothing to say of a database that was dropped before it came to it', async () => {
    const own = keeperOf({ incrementsMs: 20 });
    names = [];
    own.start();
    names = ['other.db'];
    for (const name of ['app.db', 'other.db']) {
      for (const listener of listeners) listener({ database: name });
    }
    const archives = path.join(folder, 'backups');
    await until('the other is archived', () => fs.existsSync(path.join(archives, 'other.db')));
    await own.snapshot();
    assert.deepEqual(own.warnings(), []);
    assert.deepEqual(archivedDatabases(archives), ['other.db']);
  });

  it('gives a snapshot of an idle database the time of its last transaction', async () => {
    const committedMs = Date.parse('2026-11-23T22:00:00Z');
    const archive = new Archive(path.join(folder, 'backups', 'app.db'));
    const tasks = snapshotTasks();
    const base = { position, pageSize: PAGE.length, pageCount: 1, compress: true };
    const snapshot = tasks.begin({
      archive: archive.root,
      base: { ...base, timestampMs: committedMs },
    });
    tasks.pages({ snapshot, records: Buffer.concat([Buffer.from('00000001', 'hex'), PAGE]) });
    const scratch = { check: 'off', scratchDir: folder } as const;
    const { file } = tasks.finish({ snapshot, entries: [], end: position, ...scratch });
    // As an increment: all that the database ever had.
    const increment = archive.pathOf({ ...file, level: 0 });
    fs.mkdirSync(path.dirname(increment), { recursive: true });
    fs.renameSync(archive.pathOf(file), increment);
    const own = keeperOf({ incrementsMs: 60_000 });
    own.start();
    const { snapshots } = await own.snapshot();
    assert.equal(checkFile(archive.pathOf(snapshots[0].file)).timestampMs, committedMs);
  });

  it('tells commands of databases by their names as text', async () => {
    names = [Buffer.from('für.db').toString('latin1')];
    const post = `echo "$LITEFS_SNAPSHOT_DATABASES" >> ${folder}/told`;
    keeperOf({ schedule: ['* * * * * *'], post }).start();
    await until('told', () => told().length > 0);
    assert.equal(told()[0], 'für.db');
  });

  it('says so when it goes on from a snapshot behind what the log no longer has', async () => {
    const own = keeperOf({ incrementsMs: 20 });
    own.start();
    await own.increment('app.db');
    position = { ...POSITION, txid: 5 };
    await own.snapshot();
    logBegin = 5;
    await own.increment('app.db');
    const gap =
      /app\.db: transactions after 0000000000000003\/\w+ are not in the archive \(the log no longer has it\); it goes on from the snapshot at 0000000000000005\//;
    assert(
      logged.some((text) => gap.test(text)),
      logged.join('\n'),
    );
    assert.equal(cuts.length, 2);
  });

  it('has the log wait for increments that come by themselves, not for those that are asked for', async () => {
    for (const incrementsMs of [0, 60_000]) {
      const own = keeperOf({ incrementsMs });
      own.start();
      await own.increment('app.db');
      assert.deepEqual(pins.at(-1), incrementsMs === 0 ? {} : { 'app.db': POSITION.txid });
      await own.close();
    }
  });

  it('cuts a snapshot anew when the archive was emptied meanwhile', async () => {
    const own = keeperOf({ incrementsMs: 20 });
    own.start();
    const archive = new Archive(path.join(folder, 'backups', 'app.db'));
    const isThere = () => archive.list().length === 1;
    await until('the first', isThere);
    fs.rmSync(archive.root, { recursive: true });
    for (const listener of listeners) listener({ database: 'app.db' });
    await until('another, with the increments', isThere);
    fs.rmSync(archive.root, { recursive: true });
    const { snapshots, unchanged } = await own.snapshot('app.db');
    assert.deepEqual([snapshots.length, unchanged.length], [1, 0]);
    assert(isThere());
    assert.deepEqual(own.warnings(), []);
  });

  it('goes on from the newest file that is whole, names what is not, and cuts a snapshot', async () => {
    const first = keeperOf({});
    first.start();
    await first.snapshot();
    await first.close();
    const archive = new Archive(path.join(folder, 'backups', 'app.db'));
    const damaged = archive.pathOf({ level: 0, minTxid: 4, maxTxid: 5 });
    fs.mkdirSync(path.dirname(damaged));
    fs.writeFileSync(damaged, 'of another program');
    position = { txid: 5, checksum: POSITION.checksum };
    const own = keeperOf({ incrementsMs: 20 });
    own.start();
    await until(
      () => `a snapshot: ${own.warnings()}`,
      () => archive.list().some(({ level, maxTxid }) => level === SNAPSHOT_LEVEL && maxTxid === 5),
    );
    assert(
      logged.some((text) => text.includes(damaged)),
      logged.join('\n'),
    );
    assert.deepEqual(own.warnings(), []);
  });

  it('writes no faster than it may', async () => {
    const own = keeperOf({ rateMax: 1000 });
    own.start();
    await own.snapshot();
    const recordBytes = 4 + PAGE.length;
    assert.equal(slept.length, 1);
    assert(slept[0] > recordBytes - 100 && slept[0] <= recordBytes, `${slept[0]} ms`);
  });

  it('keeps a snapshot of a former life apart, though increments had not come so far', async () => {
    const become = (txid: number, letter: string) => {
      page = Buffer.alloc(PAGE.length, letter);
      position = { txid, checksum: pageChecksum(1, page) | CHECKSUM_FLAG };
    };
    const own = keeperOf({ post: undefined });
    own.start();
    become(3, 'a');
    await own.snapshot();
    become(4, 'b');
    await own.snapshot();
    // Removed, made anew, and as many transactions later.
    become(4, 'c');
    await own.snapshot();
    const lives = archivedDatabases(path.join(folder, 'backups'));
    assert.equal(lives.length, 2, lives.join());
    for (const [index, letter] of ['c', 'b'].entries()) {
      const archive = new Archive(path.join(folder, 'backups', lives[index]));
      const output = path.join(folder, letter);
      restore(archive, { kind: 'txid', txid: 4 }, output, { check: 'quick', force: false });
      assert.equal(fs.readFileSync(output, 'latin1')[0], letter);
    }
  });
});
