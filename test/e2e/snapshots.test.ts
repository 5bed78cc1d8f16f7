/** Snapshots of real databases, cut by a running node, and what is restored from them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { SnapshotsReport } from '../../src/http/snapshots.ts';
import { archiveOf } from '../../src/snapshots/archive.ts';
import { IDENTITY_FILE } from '../../src/snapshots/place.ts';
import { restore } from '../../src/snapshots/restore.ts';
import { WRITER_FILE } from '../../src/snapshots/writer.ts';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import { Cluster, inSync, type TestNode, until } from '../harness/cluster.ts';
import { databaseImage } from '../harness/image.ts';
import { SeededRandom } from '../harness/random.ts';

const FULL = { check: 'full', force: true } as const;

/** Without what is being done: the thread of the archives is kept for a minute. */
const STOP_MS_MAX = 15_000;

describe('snapshots', () => {
  let cluster: Cluster;
  let dir: string;
  beforeEach(() => {
    cluster = new Cluster();
    dir = path.join(cluster.dir, 'backups');
    fs.mkdirSync(dir);
  });
  afterEach(() => cluster.close());

  const node = async (config: Record<string, unknown> = {}): Promise<TestNode> => {
    const snapshots = { dir, increments: '1s', schedule: '0 3 1 1 *', ...config };
    const primary = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      config: { snapshots },
    });
    await primary.start();
    return primary;
  };
  const txidOf = async (primary: TestNode, database: string) =>
    Number.parseInt((await primary.position(database)).slice(0, 16), 16);
  /** Resolves when the archive has what the database has now. */
  const archived = async (primary: TestNode, database: string): Promise<number> => {
    const txid = await txidOf(primary, database);
    const archive = archiveOf(dir, database);
    await until(
      () =>
        `${database} archived up to ${txid}: ${JSON.stringify(archive.list().at(-1))}\n${primary.logText()}`,
      () => archive.list().at(-1)?.maxTxid === txid,
    );
    return txid;
  };
  const restored = (database: string, txid: number): Buffer => {
    const output = path.join(cluster.dir, 'restored.db');
    restore(archiveOf(dir, database), { kind: 'txid', txid }, output, FULL);
    return fs.readFileSync(output);
  };

  test('give back what was there, in every journal mode, after VACUUM and another page size', async () => {
    const primary = await node();
    const random = new SeededRandom();
    const modes = ['wal', 'delete', 'truncate', 'persist', 'memory'];
    const images = new Map<string, Map<number, Buffer>>();
    for (const mode of modes) {
      sqlite3(primary.file(`${mode}.db`), `PRAGMA journal_mode=${mode}; CREATE TABLE t(x, y)`);
      images.set(mode, new Map());
    }
    for (let round = 0; round < 4; round++) {
      for (const mode of modes) {
        const file = primary.file(`${mode}.db`);
        const rows = 1 + random.below(300);
        let sql = `PRAGMA journal_mode=${mode}; INSERT INTO t SELECT value, randomblob(${random.below(2000)}) FROM generate_series(1, ${rows});`;
        if (round === 2) sql += ' DELETE FROM t WHERE x % 2; VACUUM;';
        if (round === 3) sql = 'PRAGMA journal_mode=delete; PRAGMA page_size=1024; VACUUM;';
        // Without a journal or a -wal the node reads under a lock, as any reader.
        sqlite3(file, `PRAGMA busy_timeout=10000; ${sql}`);
      }
      for (const mode of modes) {
        const txid = await archived(primary, `${mode}.db`);
        images.get(mode)?.set(txid, databaseImage(primary.file(`${mode}.db`)));
      }
    }
    for (const [mode, states] of images) {
      assert.equal(states.size, 4);
      for (const [txid, image] of states) {
        const context = `${mode} at ${txid}, LITEFS_LITE_SEED=${random.seed}`;
        assert(restored(`${mode}.db`, txid).equals(image), context);
      }
    }
    assert.equal(await primary.stop(), 0);
  });

  test('survive kill -9 of the node: what was committed is there, and the archive goes on', async () => {
    const primary = await node();
    const file = primary.file('app.db');
    sqlite3(file, 'PRAGMA journal_mode=wal; CREATE TABLE t(x)');
    const counts = new Map<number, number>();
    for (let round = 1; round <= 3; round++) {
      sqlite3(file, `INSERT INTO t VALUES(${round})`);
      counts.set(await archived(primary, 'app.db'), round);
      sqlite3(file, `INSERT INTO t VALUES(${-round}); DELETE FROM t WHERE x < 0`);
      await primary.kill();
      execFileSync('umount', ['-l', primary.mount]);
      await primary.start();
    }
    await archived(primary, 'app.db');
    for (const [txid, rows] of counts) {
      restored('app.db', txid);
      const output = path.join(cluster.dir, 'restored.db');
      assert.equal(sqlite3(output, 'SELECT count(*) FROM t'), `${rows}`);
      for (const suffix of ['-wal', '-shm']) fs.rmSync(output + suffix, { force: true });
    }
    assert.equal(await primary.stop(), 0);
  });

  test('of a database that was removed and made anew are kept apart', async () => {
    const primary = await node();
    const file = primary.file('app.db');
    sqlite3(file, "CREATE TABLE t(x); INSERT INTO t VALUES('old'); INSERT INTO t VALUES('older')");
    const before = await archived(primary, 'app.db');
    fs.rmSync(file);
    sqlite3(file, "CREATE TABLE t(x); INSERT INTO t VALUES('new')");
    const list = async () => (await runCli(['snapshots', '--dir', dir])).stdout;
    await archived(primary, 'app.db');
    const names = fs.readdirSync(dir).sort();
    const after = await txidOf(primary, 'app.db');
    const [name] = after > before ? ['app.db'] : names.filter((each) => each.includes('until'));
    assert(name, `${names} ${await list()}`);
    restored(name, before);
    assert.equal(sqlite3(path.join(cluster.dir, 'restored.db'), 'SELECT x FROM t LIMIT 1'), 'old');
    restored('app.db', after);
    assert.equal(sqlite3(path.join(cluster.dir, 'restored.db'), 'SELECT x FROM t'), 'new');
    assert.equal(await primary.stop(), 0);
  });

  test('wait for a directory that is gone or full, and go on without a gap', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', dir]);
    const kept = path.join(cluster.dir, 'kept');
    const hears = path.join(cluster.dir, 'told');
    const told = () => (fs.existsSync(hears) ? fs.readFileSync(hears, 'utf8').split('\n') : []);
    const post = `echo $$LITEFS_SNAPSHOT_RESULT $$LITEFS_SNAPSHOT_ERRORS >> ${hears}`;
    try {
      const primary = await node({ post });
      const file = primary.file('app.db');
      sqlite3(file, 'PRAGMA journal_mode=wal; CREATE TABLE t(x, y)');
      const first = await archived(primary, 'app.db');
      // Full.
      const from = primary.log.length;
      sqlite3(file, 'INSERT INTO t SELECT value, randomblob(2000) FROM generate_series(1, 200)');
      await primary.logged(/^snapshots of app\.db: .*ENOSPC/, from);
      assert.match((await primary.info()).warnings.join(), /snapshots of app\.db/);
      const metrics = async () =>
        (await fetch(`http://127.0.0.1:${primary.httpPort}/metrics`)).text();
      assert.match(await metrics(), /^litefs_lite_snapshot_ok 0$/m);
      await until('told of it', () => told()[0]?.startsWith('failed snapshots of app.db'));
      execFileSync('mount', ['-o', 'remount,size=8m', dir]);
      await primary.logged(/^snapshots of app\.db go on/, from);
      assert.match(await metrics(), /^litefs_lite_snapshot_ok 1$/m);
      await until('told that all is well', () => told()[1]?.startsWith('ok'));
      const second = await archived(primary, 'app.db');
      assert(restored('app.db', second).equals(databaseImage(file)));
      // Gone: what lies below must not be filled in its place.
      fs.cpSync(dir, kept, { recursive: true, preserveTimestamps: true });
      execFileSync('umount', [dir]);
      const again = primary.log.length;
      sqlite3(file, 'DELETE FROM t WHERE x > 10');
      await primary.logged(/Is it mounted\?/, again);
      assert.deepEqual(fs.readdirSync(dir), []);
      assert.equal(sqlite3(file, 'SELECT count(*) FROM t'), '10');
      assert(first < second);
      // Back, on another device.
      execFileSync('mount', ['--bind', kept, dir]);
      await primary.logged(/^snapshots of app\.db go on/, again);
      const third = await archived(primary, 'app.db');
      assert(restored('app.db', third).equals(databaseImage(file)));
      assert.equal(await primary.stop(), 0);
    } finally {
      execFileSync('sh', ['-c', `umount -l ${dir} 2>/dev/null || true`]);
    }
  });

  test('are restored in place under open connections, of which only what differs is kept', async () => {
    const primary = await node();
    const replica = await cluster.follow(primary);
    const file = primary.file('app.db');
    sqlite3(
      file,
      `PRAGMA journal_mode=wal; CREATE TABLE t(x, y); CREATE TABLE log(x); INSERT INTO t SELECT value, randomblob(900) FROM generate_series(1, 5000)`,
    );
    const good = await archived(primary, 'app.db');
    const state = 'SELECT count(*), sum(length(y)), max(x) FROM t';
    const image = sqlite3(file, state);
    sqlite3(
      file,
      'UPDATE t SET y = NULL WHERE x < 20; DELETE FROM t WHERE x > 4990; DROP TABLE log',
    );
    const bad = await archived(primary, 'app.db');
    const hex = (txid: number) => txid.toString(16).padStart(16, '0');
    const compared = await runCli(['diff', 'app.db', '--dir', dir, '--from', hex(good), '--json']);
    assert.equal(compared.status, 1, compared.stderr);
    const { tables } = JSON.parse(compared.stdout);
    assert.deepEqual(
      tables.map(({ table, added, removed }: Record<string, unknown>) => [table, added, removed]),
      [
        ['log', 0, 0],
        ['t', 19, 29],
      ],
    );

    const app = new Sqlite(file);
    const read = (sql: string) => (app.prepare(sql).raw().get() as unknown[]).join('|');
    try {
      read(state);
      const back = (of: TestNode, txid: string) =>
        runCli([
          ...'restore app.db --in-place --dir'.split(' '),
          dir,
          '--config',
          of.configFile,
          '--txid',
          txid,
        ]);
      const run = await back(primary, hex(good));
      assert.equal(run.status, 0, run.stderr);
      assert.match(run.stdout, new RegExp(`to undo it: .* --txid ${hex(bad)} --in-place`));
      assert.equal(read(state), image);
      app.exec("INSERT INTO log VALUES('goes on')");
      assert.equal(await archived(primary, 'app.db'), bad + 2);
      const { bytes } = archiveOf(dir, 'app.db').list().at(-1) ?? { bytes: 0 };
      assert(bytes < 200_000, `${bytes} bytes: only what differs`);
      await inSync(primary, replica, 'app.db');
      assert.equal(sqlite3(replica.file('app.db'), 'SELECT x FROM log'), 'goes on');
      assert.equal((await back(primary, hex(bad))).status, 0);
      assert.equal(read('SELECT count(*) FROM t'), '4990');
      const refused = await back(replica, hex(bad));
      assert.equal(refused.status, 75, refused.stdout);
      assert.match(refused.stderr, /is a replica/);
    } finally {
      app.close();
    }
    const left = fs.readdirSync(dir).sort();
    assert.deepEqual(left, [IDENTITY_FILE, WRITER_FILE, 'app.db'], 'no scratch file is left');
    assert.equal(await replica.stop(), 0);
    assert.equal(await primary.stop(), 0);
  });

  test('that are being cut do not keep the node from stopping', async () => {
    const primary = await node({ increments: 'off', rate: '1MiB', compress: false });
    for (const name of ['a.db', 'b.db']) {
      sqlite3(primary.file(name), 'CREATE TABLE t AS SELECT randomblob(8000000)');
    }
    const asked = primary.api('/snapshot', { method: 'POST' }).catch(() => undefined);
    await until('one is begun', () =>
      fs.readdirSync(dir, { recursive: true }).some((name) => String(name).endsWith('.tmp')),
    );
    const startedMs = performance.now();
    assert.equal(await primary.stop(), 0);
    assert(performance.now() - startedMs < STOP_MS_MAX, primary.logText());
    await asked;
    assert.deepEqual(
      fs.readdirSync(dir, { recursive: true }).filter((name) => String(name).endsWith('.ltx')),
      [],
    );
  });

  test('are read again by verify, which names what is damaged', async () => {
    const primary = await node();
    sqlite3(primary.file('app.db'), 'CREATE TABLE t(x)');
    await archived(primary, 'app.db');
    sqlite3(primary.file('app.db'), 'INSERT INTO t VALUES(1)');
    await archived(primary, 'app.db');
    const verify = () => runCli(['verify', '--snapshots', '--dir', dir]);
    assert.match((await verify()).stdout, /^app\.db: ok, 2 files/);
    const archive = archiveOf(dir, 'app.db');
    for (const file of archive.list()) {
      const damaged = archive.pathOf(file);
      const whole = fs.readFileSync(damaged);
      const bytes = Buffer.from(whole);
      bytes[bytes.length >> 1] ^= 1;
      fs.writeFileSync(damaged, bytes);
      const run = await verify();
      assert.equal(run.status, 65);
      assert(run.stdout.includes(`  ${damaged} `), run.stdout);
      fs.writeFileSync(damaged, whole);
    }
    assert.equal(await primary.stop(), 0);
  });

  test('are cut by the clock, with commands before and after', async () => {
    const told = path.join(cluster.dir, 'told');
    const primary = await node({
      increments: 'off',
      schedule: '* * * * * *',
      pre: `test ! -e ${cluster.dir}/no`,
      post: `echo "$LITEFS_SNAPSHOT_RESULT|$LITEFS_SNAPSHOT_DATABASES|$LITEFS_SNAPSHOT_ERRORS" >> ${told}`.replaceAll(
        '$',
        '$$$$',
      ),
    });
    sqlite3(primary.file('app.db'), 'CREATE TABLE t(x)');
    const lines = () => (fs.existsSync(told) ? fs.readFileSync(told, 'utf8') : '');
    await until('told of a snapshot', () => lines().includes('ok|app.db|'));
    fs.writeFileSync(path.join(cluster.dir, 'no'), '');
    await until('told of a failure', () => lines().includes('failed||the command pre failed'));
    assert.equal(await primary.stop(), 0);
  });

  test('are cut on a replica when the config says so, and on request', async () => {
    const primary = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    await primary.start();
    const replica = await cluster.follow(primary, {
      snapshots: { dir, on: 'replica', increments: '1s', schedule: '0 3 1 1 *' },
    });
    sqlite3(primary.file('app.db'), 'PRAGMA journal_mode=wal; CREATE TABLE t(x)');
    await until('replicated', async () => (await replica.position('app.db')) !== '');
    const config = ['--config', replica.configFile];
    const cut = await runCli(['snapshot', 'app.db', ...config]);
    assert.equal(cut.status, 0, cut.stderr);
    const stick = path.join(cluster.dir, 'stick');
    const nowhere = await runCli(['snapshot', ...config, '--dir', stick]);
    assert.equal(nowhere.status, 64, nowhere.stderr);
    fs.mkdirSync(stick);
    const copied = await runCli(['snapshot', ...config, '--dir', stick]);
    assert.equal(copied.status, 0, copied.stderr);
    const copy = path.join(cluster.dir, 'of-the-copy.db');
    restore(archiveOf(stick, 'app.db'), { kind: 'latest' }, copy, FULL);
    assert.equal(sqlite3(copy, 'SELECT name FROM sqlite_master'), 't');
    const refused = await runCli(['snapshot', '--config', primary.configFile]);
    assert.equal(refused.status, 75, refused.stdout);
    assert.match(refused.stderr, /cuts no snapshots/);
    const report = (await (await replica.api('/snapshots')).json()) as SnapshotsReport;
    assert.equal(report.dir, dir);
    assert.deepEqual(
      report.databases.map(({ name }) => name),
      ['app.db'],
    );
    assert(report.nextRun);
    const txid = await archived(replica, 'app.db');
    assert(restored('app.db', txid).equals(databaseImage(primary.file('app.db'))));
    assert.equal(await replica.stop(), 0);
    assert.equal(await primary.stop(), 0);
  });
});
