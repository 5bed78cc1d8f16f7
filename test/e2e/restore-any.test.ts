/**
 * Random transactions on a mounted node that keeps archives and is killed now and then: each state that was recorded is
 * restored byte for byte, as it is archived, merged, and after retention. More:
 *
 *     LITEFS_LITE_RESTORE_STATES=1000 npm test -- restore-any
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { LiteFsError } from '../../src/errors.ts';
import { Archive, archiveOf } from '../../src/snapshots/archive.ts';
import { restorePoints } from '../../src/snapshots/plan.ts';
import { restore } from '../../src/snapshots/restore.ts';
import { snapshotTasks } from '../../src/snapshots/tasks.ts';
import { databasePageCount, parseDbHeader } from '../../src/sqlite/db-header.ts';
import { Cluster, type TestNode, until } from '../harness/cluster.ts';
import { databaseImage, positionOf } from '../harness/image.ts';
import { SeededRandom } from '../harness/random.ts';

const STATES = Number(process.env.LITEFS_LITE_RESTORE_STATES ?? 144);
const MODES = ['wal', 'delete', 'truncate', 'persist', 'memory', 'wal'];
const PAGE_SIZES = [512, 1024, 4096, 8192, 65536];
const DATABASES = 48;

/** A state of a database: where its archive is (a name may change, an inode not), and what it was. */
interface State {
  readonly inode: number;
  readonly txid: number;
  readonly image: Buffer;
}

/** One database that changes at random. */
class Changing {
  readonly name: string;
  mode: string;
  readonly #file: string;
  readonly #random: SeededRandom;
  #tables = 0;

  constructor(name: string, file: string, mode: string, random: SeededRandom) {
    this.name = name;
    this.mode = mode;
    this.#file = file;
    this.#random = random;
  }

  /** Throws SqliteError when the mount goes away. */
  change(): void {
    const isNew = !fs.existsSync(this.#file);
    if (!isNew && this.#random.below(14) === 0) this.#remove();
    const db = new Sqlite(this.#file, { timeout: 20_000 });
    try {
      if (isNew) db.pragma(`page_size = ${this.#random.pick(PAGE_SIZES)}`);
      if (this.#random.below(4) === 0) db.pragma(`auto_vacuum = ${this.#random.below(3)}`);
      db.pragma(`journal_mode = ${this.mode}`);
      db.exec('CREATE TABLE IF NOT EXISTS t0(x INTEGER PRIMARY KEY, y, z)');
      for (let count = this.#random.below(3); count >= 0; count--) this.#once(db);
    } finally {
      db.close();
    }
  }

  /** Has what a dead writer left behind rolled back. */
  recover(): void {
    if (!fs.existsSync(this.#file)) return;
    const db = new Sqlite(this.#file, { timeout: 20_000 });
    db.pragma('user_version');
    db.exec('BEGIN IMMEDIATE; ROLLBACK');
    db.close();
  }

  #remove(): void {
    fs.rmSync(this.#file);
    for (const suffix of ['-wal', '-shm', '-journal']) {
      fs.rmSync(this.#file + suffix, { force: true });
    }
    this.#tables = 0;
  }

  #once(db: Sqlite.Database): void {
    const random = this.#random;
    const rows = 1 + random.below(120);
    const kind = random.below(10);
    if (kind < 4) db.exec(inserted(rows, random.below(1500)));
    else if (kind === 4) db.exec(`DELETE FROM t0 WHERE x % ${2 + random.below(4)} = 0`);
    else if (kind === 5)
      db.exec(`UPDATE t0 SET y = zeroblob(${random.below(900)}) WHERE x % 7 = 1`);
    else if (kind === 6) db.exec(`CREATE TABLE n${++this.#tables}_${random.below(1e6)}(a, b)`);
    else if (kind === 7) db.exec('CREATE INDEX IF NOT EXISTS i ON t0(z); REINDEX');
    else if (kind === 8) db.exec('VACUUM');
    else this.#otherPageSize(db);
  }

  #otherPageSize(db: Sqlite.Database): void {
    // Only a WAL stands in the way of it.
    if (this.mode === 'wal') db.pragma('journal_mode = delete');
    db.pragma(`page_size = ${this.#random.pick(PAGE_SIZES)}`);
    db.exec('VACUUM');
    db.pragma(`journal_mode = ${this.mode}`);
  }
}

function inserted(rows: number, bytes: number): string {
  return `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO t0(y, z) SELECT randomblob(${bytes}), i FROM n`;
}

/** SIGKILL in so many seconds, from outside: this thread may then wait for the mount. */
function killLater(pid: number, seconds: number): void {
  spawn('sh', ['-c', `sleep ${seconds}; kill -9 ${pid}`], { stdio: 'ignore' });
}

test('a restore to every recorded state gives what it was', async (t) => {
  const random = new SeededRandom();
  const context = `LITEFS_LITE_SEED=${random.seed}`;
  t.diagnostic(context);
  const cluster = new Cluster();
  try {
    const dir = path.join(cluster.dir, 'backups');
    fs.mkdirSync(dir);
    const primary = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      config: { snapshots: { dir, increments: '1s', schedule: '*/4 * * * * *', verify: 'quick' } },
    });
    await primary.start();
    const databases = Array.from({ length: DATABASES }, (_, at) => {
      const name = `db-${at}`;
      return new Changing(name, primary.file(name), MODES[at % MODES.length], random);
    });
    const states: State[] = [];
    let newest: State[] = [];
    for (let round = 0; states.length < STATES; round++) {
      if (round % 3 === 2) await changeAndKill(primary, databases, random);
      else for (const database of databases) database.change();
      newest = await record(primary, dir, databases);
      states.push(...newest);
    }
    // One more of each that has changed: what is before it need not be kept below.
    assert.equal((await primary.api('/snapshot', { method: 'POST' })).status, 200);
    assert.equal(await primary.stop(), 0);

    const output = path.join(cluster.dir, 'restored');
    assert.equal(checkAll(dir, states, output, context, 'all'), states.length);
    const [kept, merged] = [path.join(cluster.dir, 'kept'), path.join(cluster.dir, 'merged')];
    for (const copy of [merged, kept]) execFileSync('cp', ['-a', dir, copy]);
    const keep = { last: 2, hourly: 1, daily: 1, weekly: 0, monthly: 0 };
    tidyAll(merged, { ...keep, withinMs: 365 * 86_400_000 }, Date.now() + 3 * 3_600_000);
    assert.equal(
      checkAll(merged, moved(states, dir, merged), output, context, 'all'),
      states.length,
    );
    for (const root of rootsOf(merged).values()) {
      for (const level of ['0', '1']) {
        fs.rmSync(path.join(root, 'ltx', level), { recursive: true, force: true });
      }
    }
    assert(checkAll(merged, moved(states, dir, merged), output, context, 'some') >= DATABASES / 2);
    tidyAll(kept, { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, withinMs: 0 }, Date.now());
    const left = checkAll(kept, moved(states, dir, kept), output, context, 'some');
    assert(left >= newest.length && left < states.length, `${left} of ${states.length} are left`);
  } finally {
    await cluster.close();
  }
});

/** Changes databases until the node is gone, and starts it again. */
async function changeAndKill(
  primary: TestNode,
  databases: readonly Changing[],
  random: SeededRandom,
): Promise<void> {
  killLater(primary.pid, (50 + random.below(1200)) / 1000);
  try {
    // A writer without a journal that loses its disk loses the database with it: not those.
    const safe = databases.filter(({ mode }) => mode !== 'memory');
    for (;;) for (const database of safe) database.change();
  } catch (error) {
    if (!isOfDeadMount(error)) throw error;
  }
  await primary.exited;
  execFileSync('umount', ['-l', primary.mount]);
  await primary.start();
  for (const database of databases) database.recover();
}

/** Some errors of fs.rmSync have no code, and better-sqlite3 looks for the directory first. */
function isOfDeadMount(error: unknown): boolean {
  if (error instanceof LiteFsError) return false;
  if (error instanceof Sqlite.SqliteError || (error as { code?: string }).code) return true;
  const text = /Transport endpoint is not connected|connection abort|directory does not exist/;
  return text.test(String(error));
}

/** What each database is now, once that is in its archive. */
async function record(
  primary: TestNode,
  dir: string,
  databases: readonly Changing[],
): Promise<State[]> {
  const states: State[] = [];
  for (const { name, mode } of databases) {
    // The node was killed between its removal and its return: there is nothing to record.
    const file = fs.statSync(primary.file(name), { throwIfNoEntry: false });
    if (!file || file.size === 0) continue;
    const archive = archiveOf(dir, name);
    let txid = 0;
    await until(
      () =>
        `${name} archived up to ${txid}: ${JSON.stringify(archive.list().at(-1))}\n${primary.logText()}`,
      async () => {
        const position = await primary.position(name);
        txid = Number.parseInt(position.slice(0, 16), 16);
        const newest = archive.exists() ? archive.open().position : undefined;
        return newest?.txid === txid && position.endsWith(newest.checksum.toString(16));
      },
    );
    const { ino } = fs.statSync(archive.root);
    const image = withoutRest(databaseImage(primary.file(name)));
    // What is compared later must be what the node says that it has.
    const position = await primary.position(name);
    if (positionOf(txid, image) !== position) {
      const how = differences(image, archive, path.join(path.dirname(dir), 'captured'));
      assert.fail(`${name}, ${mode}, is not what ${position} was: ${how}\n${primary.logText()}`);
    }
    states.push({ inode: ino, txid, image });
  }
  return states;
}

/**
 * SQLite cuts a file after the commit that has made it smaller. When the node is killed between the two it stays longer than
 * its header says, which no reader heeds, nor we.
 */
function withoutRest(image: Buffer): Buffer {
  const header = parseDbHeader(image);
  return header
    ? image.subarray(0, databasePageCount(header, image.length) * header.pageSize)
    : image;
}

/** In which pages a file is not what was captured of it. */
function differences(image: Buffer, archive: Archive, output: string): string {
  restore(archive, { kind: 'latest' }, output, { check: 'off', force: true });
  const captured = fs.readFileSync(output);
  const header = parseDbHeader(image);
  const pageSize = header?.pageSize ?? 512;
  const pages: number[] = [];
  for (let at = 0; at < Math.max(image.length, captured.length); at += pageSize) {
    const [ours, theirs] = [image, captured].map((all) => all.subarray(at, at + pageSize));
    if (!ours.equals(theirs)) pages.push(at / pageSize + 1);
  }
  const facts = { bytes: image.length, captured: captured.length, ...header, pages };
  return JSON.stringify(facts, (_, value) => (typeof value === 'bigint' ? `${value}` : value));
}

/** The archives in a directory, by inode: their names change with those of the databases. */
function rootsOf(dir: string): Map<number, string> {
  const folders = fs.readdirSync(dir, { withFileTypes: true }).filter((e) => e.isDirectory());
  const roots = folders.map(({ name }) => path.join(dir, name));
  return new Map(roots.map((root) => [fs.statSync(root).ino, root]));
}

/** The same states in a copy of the archives. */
function moved(states: readonly State[], from: string, to: string): State[] {
  const inodes = new Map(
    [...rootsOf(from)].map(([inode, root]) => [
      inode,
      fs.statSync(path.join(to, path.basename(root))).ino,
    ]),
  );
  return states.map((state) => ({ ...state, inode: inodes.get(state.inode) ?? 0 }));
}

/** Restores each state: all of them, or those that the archives show. Returns how many. */
function checkAll(
  dir: string,
  states: readonly State[],
  output: string,
  context: string,
  which: 'all' | 'some',
): number {
  const roots = rootsOf(dir);
  const shown = new Map<number, Set<number>>();
  for (const [inode, root] of roots) {
    const points = restorePoints(new Archive(root).list());
    shown.set(inode, new Set(points.map(({ txid }) => txid)));
  }
  let count = 0;
  for (const { inode, txid, image } of states) {
    const root = roots.get(inode);
    assert(root, `an archive is gone, ${context}`);
    if (which === 'some' && !shown.get(inode)?.has(txid)) continue;
    // integrity_check of some: that SQLite reads it is known of the image.
    const check = count % 16 === 0 ? 'full' : 'quick';
    restore(new Archive(root), { kind: 'txid', txid }, output, { check, force: true });
    const found = fs.readFileSync(output);
    assert(found.equals(image), `${root} at ${txid}: ${difference(found, image)}, ${context}`);
    count++;
  }
  return count;
}

function difference(a: Buffer, b: Buffer): string {
  const at = a.findIndex((byte, index) => byte !== b[index]);
  const part = (bytes: Buffer) => bytes.toString('hex', at, at + 32);
  return `${a.length} and ${b.length} bytes, at ${at} ${part(a)} and ${part(b)}`;
}

function tidyAll(
  dir: string,
  keep: Parameters<ReturnType<typeof snapshotTasks>['tidy']>[0]['keep'],
  nowMs: number,
): void {
  const tasks = snapshotTasks();
  for (const root of rootsOf(dir).values()) {
    tasks.tidy({ archive: root, keep, nowMs, timezone: 'UTC', compress: true });
  }
}
