import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { isDeadMount, mountAt, unmount } from '../../src/os/mounts.ts';
import { Cluster, inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';

/** Half of what an unmount waits for those who use it. */
const STOP_MS_MAX = 5000;

async function withCluster(run: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = new Cluster();
  try {
    await run(cluster);
  } finally {
    await cluster.close();
  }
}

/** Starts a node that must not come up; its exit status and its last words. */
async function startFailing(node: TestNode): Promise<{ status: number | null; text: string }> {
  const from = node.log.length;
  node.launch();
  const over = new AbortController();
  const mounted = node.logged(/^mounted on/, from, undefined, over.signal);
  const status = await Promise.race([node.exited, mounted.then(() => assert.fail('it came up'))]);
  over.abort();
  await until('its log is read', () => node.log.some(({ level }) => level === 'fatal'));
  // A start that fails leaves the dead mount of the life before, which keeps applications from the bare folder.
  assert(mountAt(node.mount) === undefined || isDeadMount(node.mount), 'something is mounted');
  assert.equal(node.log.at(-1)?.level, 'fatal', 'the last word is why');
  return { status, text: node.logText() };
}

function create(file: string): void {
  const db = new Sqlite(file);
  db.exec('PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)');
  db.close();
}

test('a mount point that is not empty is refused, and nothing is hidden', () =>
  withCluster(async (cluster) => {
    const node = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    fs.mkdirSync(node.mount);
    fs.writeFileSync(node.file('precious.txt'), 'x');
    const { status, text } = await startFailing(node);
    assert.equal(status, 73);
    assert.match(
      text,
      /not empty: it has precious\.txt\. Move these files away.*litefs-lite adopt/,
    );
  }));

test('a taken port is named, and nothing is half-mounted', () =>
  withCluster(async (cluster) => {
    const node = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    const taken = net.createServer().listen(node.replicationPort, '127.0.0.1');
    await once(taken, 'listening');
    try {
      const { status, text } = await startFailing(node);
      assert.equal(status, 69);
      assert.match(
        text,
        new RegExp(`cannot listen on 127\\.0\\.0\\.1:${node.replicationPort} for replicas`),
      );
    } finally {
      taken.close();
    }
  }));

test('two daemons on one data directory: the second says who has it', () =>
  withCluster(async (cluster) => {
    const first = await cluster.add('first', { candidate: true, passthrough: 'auto' });
    await first.start();
    const second = await cluster.add('second', {
      candidate: true,
      passthrough: 'auto',
      config: { data: { dir: first.data } },
    });
    const { status, text } = await startFailing(second);
    assert.equal(status, 73);
    assert.match(
      text,
      new RegExp(`another litefs-lite \\(process ${first.pid}\\) runs on data.dir`),
    );
  }));

test('a wrong secret is refused with one line, and replication begins when it is right', () =>
  withCluster(async (cluster) => {
    const primary = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      config: { replication: { secret: 'the-right-one-0123456789' } },
    });
    await primary.start();
    create(primary.file('app.db'));
    const replica = await cluster.add('replica', {
      candidate: false,
      passthrough: 'auto',
      primaryPort: primary.replicationPort,
      config: { replication: { secret: 'another-one-9876543210abc' } },
    });
    replica.launch();
    const line = await replica.logged(/^refused by/);
    assert.match(line.msg, /secret/);
    const { upstream, warnings } = await replica.info();
    assert.equal(upstream?.refused, true);
    assert.match(warnings[0], /^refused by 127\.0\.0\.1:\d+: the secret of .* is not that of/);
    await primary.logged(/refused a connection from .*secret/);
    assert.equal(await replica.stop(), 0);
    (replica.settings.config as Record<string, Record<string, string>>).replication.secret =
      'the-right-one-0123456789';
    await replica.start();
    await inSync(primary, replica, 'app.db');
  }));

test('two primaries notice each other', () =>
  withCluster(async (cluster) => {
    const first = await cluster.add('first', { candidate: true, passthrough: 'auto' });
    await first.start();
    const second = await cluster.add('second', {
      candidate: true,
      passthrough: 'auto',
      primaryPort: first.replicationPort,
    });
    // The image of a primary, restored on another machine: the same cluster, another node.
    fs.mkdirSync(second.data, { recursive: true });
    const identity = JSON.parse(fs.readFileSync(path.join(first.data, 'node.json'), 'utf8'));
    const copied = { ...identity, nodeId: 'aaaaaaaaaaaaaaaa' };
    fs.writeFileSync(path.join(second.data, 'node.json'), JSON.stringify(copied));
    await second.start();
    await second.logged(/both claim to be primary/);
    await until('both warn', async () => {
      const reports = [await first.info(), await second.info()];
      return reports.every(({ warnings }) => warnings.some((text) => /both claim/.test(text)));
    });
  }));

test('a primary that cannot be reached is waited for', () =>
  withCluster(async (cluster) => {
    const primary = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    const replica = await cluster.add('replica', {
      candidate: false,
      passthrough: 'auto',
      primaryPort: primary.replicationPort,
    });
    replica.launch();
    await replica.logged(/cannot follow .* ECONNREFUSED/);
    await primary.start();
    await replica.logged(/^in sync/);
  }));

test('a file that begins like a database and is none is set aside; the others are served', () =>
  withCluster(async (cluster) => {
    const node = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    await node.start();
    create(node.file('good.db'));
    await node.stop();
    fs.writeFileSync(node.backing('bad.db'), `SQLite format 3\0${'garbage'.repeat(1000)}`);
    await node.start();
    await node.logged(/bad\.db .*; its files are in .*quarantine/);
    const db = new Sqlite(node.file('good.db'), { readonly: true });
    assert.deepEqual(db.prepare('SELECT x FROM t').pluck().all(), [1]);
    db.close();
    assert.ok(!fs.existsSync(node.file('bad.db')));
  }));

test('a database in quarantine stays on the replica, which follows what takes its place', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  const rows = () => {
    const db = new Sqlite(replica.file('app.db'), { readonly: true });
    const count = db.prepare('SELECT count(*) FROM t').pluck().get();
    db.close();
    return count;
  };
  try {
    create(primary.file('app.db'));
    await inSync(primary, replica, 'app.db');
    await primary.stop();
    const good = fs.readFileSync(primary.backing('app.db'));
    fs.writeFileSync(primary.backing('app.db'), `SQLite format 3\0${'garbage'.repeat(1000)}`);
    const from = primary.log.length;
    await primary.start();
    await primary.logged(/follows this node/, from);
    const [report] = (await primary.info()).databases;
    assert.match(`${report.state} ${report.reason}`, /degraded .*quarantine/);
    assert.equal(rows(), 1);
    await until('the replica tells of it', async () => {
      const { upstream, warnings } = await replica.info();
      const [{ name, hostname, reason }] = upstream?.troubles ?? [];
      const text = `${name}: ${hostname} does not replicate it at present: ${reason}`;
      return /damaged header.*quarantine/.test(reason) && warnings.includes(text);
    });

    fs.writeFileSync(primary.file('app.db'), good);
    const db = new Sqlite(primary.file('app.db'));
    db.exec('INSERT INTO t VALUES(2)');
    db.close();
    await inSync(primary, replica, 'app.db');
    assert.equal(rows(), 2);
    await until('all is well there', async () => {
      const { upstream, warnings } = await replica.info();
      return upstream?.troubles.length === 0 && warnings.length === 0;
    });
    assert.deepEqual(fs.readdirSync(path.join(replica.data, 'divergence')), []);
  } finally {
    await cluster.close();
  }
});

test('an app that holds a file when the daemon stops is named', () =>
  withCluster(async (cluster) => {
    const node = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    await node.start();
    fs.writeFileSync(node.file('held.txt'), 'x');
    const fd = fs.openSync(node.file('held.txt'), 'r');
    const holder = spawn('sleep', ['60'], { stdio: [fd, 'ignore', 'ignore'] });
    fs.closeSync(fd);
    try {
      const stopped = node.stop();
      const line = await node.logged(/is still in use by/);
      assert.match(line.msg, new RegExp(`sleep \\(${holder.pid}\\)`));
      holder.kill('SIGKILL');
      await stopped;
    } finally {
      holder.kill('SIGKILL');
    }
  }));

test('an app that outlives a daemon that was killed is named, and waited for', () =>
  withCluster(async (cluster) => {
    const node = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    await node.start();
    create(node.file('app.db'));
    const app = spawn('sqlite3', ['-batch', node.file('app.db')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      app.stdin.write('SELECT count(*) FROM t;\n');
      await once(app.stdout, 'data');
      await node.kill();
      const from = node.log.length;
      const started = node.start();
      started.catch(() => {});
      const line = await node.logged(/^waiting for files that are open/, from);
      assert.match(line.msg, new RegExp(`died: sqlite3 \\(${app.pid}\\): app\\.db, `));
      app.kill('SIGKILL');
      await started;
    } finally {
      app.kill('SIGKILL');
    }
  }));

test('a replica whose new page size waits for a reader says so, and stops once that reader has left', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  const reader = spawn('sqlite3', ['-batch', replica.file('app.db')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    const db = new Sqlite(primary.file('app.db'));
    db.exec('PRAGMA journal_mode = delete; CREATE TABLE t(x); INSERT INTO t VALUES(1)');
    await inSync(primary, replica, 'app.db');
    reader.stdin.write('BEGIN; SELECT count(*) FROM t;\n');
    await once(reader.stdout, 'data');
    db.exec('INSERT INTO t VALUES(2)');
    await inSync(primary, replica, 'app.db');
    db.exec('PRAGMA page_size = 8192; VACUUM');
    db.close();
    await until('the status says what it waits for', async () =>
      /another size/.test(JSON.stringify(await replica.info())),
    );
    const stopped = replica.stop();
    await replica.logged(/is still in use by sqlite3/);
    const leftMs = performance.now();
    reader.stdin.end('COMMIT;\n');
    assert.equal(await stopped, 0);
    const ms = performance.now() - leftMs;
    assert(ms < STOP_MS_MAX, `${Math.round(ms)} ms\n${replica.logText()}`);
    assert.doesNotMatch(replica.logText(), /unmounted .* under those who use it/);
    await replica.start();
    await inSync(primary, replica, 'app.db');
    const copy = new Sqlite(replica.file('app.db'), { readonly: true });
    assert.equal(copy.prepare('SELECT count(*) FROM t').pluck().get(), 2);
    assert.equal(copy.pragma('page_size', { simple: true }), 8192);
    copy.close();
  } finally {
    reader.kill('SIGKILL');
    await cluster.close();
  }
});

test('a full disk degrades the database, and it catches up when there is space again', async () => {
  const cluster = new Cluster();
  const primary = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
  try {
    fs.mkdirSync(primary.data, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', primary.data]);
    await primary.start();
    const replica = await cluster.follow(primary);
    const db = new Sqlite(primary.file('app.db'));
    db.exec('PRAGMA journal_mode = wal; CREATE TABLE t(id INTEGER PRIMARY KEY, x)');
    const insert = db.prepare('INSERT INTO t(x) VALUES(?)');
    for (let i = 0; i < 200; i++) insert.run(randomBytes(8000));
    // What comes now is written over what is there: SQLite needs no more space, our log does.
    db.pragma('wal_checkpoint(RESTART)');
    await inSync(primary, replica, 'app.db');
    const ballast = path.join(primary.data, 'ballast');
    fillUp(ballast);
    const update = db.prepare('UPDATE t SET x = ? WHERE id = ?');
    for (let id = 1; id <= 100; id++) update.run(randomBytes(8000), id);
    await until('the database is degraded', async () => {
      const [report] = (await primary.info()).databases;
      return report?.state === 'degraded' && /ENOSPC/.test(report.reason ?? '');
    });
    fs.rmSync(ballast);
    await until('it is well again', async () => {
      const [report] = (await primary.info()).databases;
      return report?.state === 'ok';
    });
    await inSync(primary, replica, 'app.db');
    const copy = new Sqlite(replica.file('app.db'), { readonly: true });
    const all = 'SELECT x FROM t ORDER BY id';
    assert.deepEqual(copy.prepare(all).pluck().all(), db.prepare(all).pluck().all());
    copy.close();
    db.close();
  } finally {
    for (const node of cluster.nodes) await node.kill();
    execFileSync('umount', ['-l', primary.mount]);
    execFileSync('umount', ['-l', primary.data]);
    await cluster.close();
  }
});

test('a start on a full disk is refused, and sets no database aside whose -wal has no room', async () => {
  const cluster = new Cluster();
  const node = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
  try {
    fs.mkdirSync(node.data, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', node.data]);
    await node.start();
    const db = new Sqlite(node.file('app.db'));
    db.exec('PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(x)');
    for (let i = 0; i < 200; i++) db.exec('INSERT INTO t VALUES(randomblob(8000))');
    await node.kill();
    db.close();
    const ballast = path.join(node.data, 'ballast');
    fillUp(ballast);
    // Room for node.json and the lock, not for the -wal in the database.
    fs.truncateSync(ballast, fs.statSync(ballast).size - (120 << 10));
    const { status, text } = await startFailing(node);
    assert.equal(status, 74);
    assert.match(text, /app\.db cannot be recovered: SQLite says: .*SQLITE_(?:FULL|IOERR)\w*\)/);
    assert.deepEqual(fs.readdirSync(path.join(node.data, 'quarantine')), []);

    fs.rmSync(ballast);
    await node.start();
    const copy = new Sqlite(node.file('app.db'), { readonly: true });
    assert.equal(copy.prepare('SELECT count(*) FROM t').pluck().get(), 200);
    copy.close();
  } finally {
    await node.kill();
    for (const dir of [node.mount, node.data]) unmount(dir, { detach: true });
    await cluster.close();
  }
});

/** Writes until there is no space left. */
function fillUp(file: string): void {
  const fd = fs.openSync(file, 'w');
  try {
    for (const bytes of [1 << 20, 4096, 1]) {
      try {
        for (;;) fs.writeSync(fd, Buffer.alloc(bytes));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
      }
    }
  } finally {
    fs.closeSync(fd);
  }
}

test('a database whose changes cannot be read is named', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    const db = new Sqlite(primary.file('app.db'));
    db.exec('PRAGMA journal_mode = memory; PRAGMA locking_mode = exclusive; CREATE TABLE t(x)');
    db.exec('INSERT INTO t VALUES(1)');
    await until('it is degraded', async () => {
      const [report] = (await primary.info()).databases;
      return report?.state === 'degraded' && /locking_mode=EXCLUSIVE/.test(report.reason ?? '');
    });
    db.close();
    await inSync(primary, replica, 'app.db');
    await until('it is well', async () => (await primary.info()).databases[0]?.state === 'ok');
    const copy = new Sqlite(replica.file('app.db'), { readonly: true });
    assert.equal(copy.prepare('SELECT count(*) FROM t').pluck().get(), 1);
    copy.close();
  } finally {
    await cluster.close();
  }
});
