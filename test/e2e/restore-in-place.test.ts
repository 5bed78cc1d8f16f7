/** A restore into a running primary: what its application, and a replica, see of it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { describe, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { archiveOf } from '../../src/snapshots/archive.ts';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import { Cluster, inSync } from '../harness/cluster.ts';

const BUSY_APP = path.resolve(import.meta.dirname, '../harness/busy-app.ts');
const BUSY_MS = 10_000;

interface Seen {
  readonly reads: number;
  readonly writes: number;
  readonly longestMs: number;
  readonly errors: readonly string[];
}

/** Starts an application; the function that it resolves with ends it. */
async function startApp(file: string, over: AbortSignal): Promise<() => Promise<Seen>> {
  const child = spawn(process.execPath, [BUSY_APP, file, `${BUSY_MS}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
    signal: over,
    killSignal: 'SIGKILL',
  });
  child.on('error', () => {});
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, 'goes');
  return async () => {
    child.stdin.end();
    const { value } = await lines.next();
    return JSON.parse(value ?? '{}') as Seen;
  };
}

describe('a restore in place', () => {
  for (const [mode, increments] of [
    ['wal', '1s'],
    ['delete', 'off'],
  ]) {
    test(`lets an application go on in mode ${mode}, can be undone to the last commit, and replicas follow`, async () => {
      const cluster = new Cluster();
      const over = new AbortController();
      try {
        const dir = path.join(cluster.dir, 'backups');
        fs.mkdirSync(dir);
        const primary = await cluster.add('primary', {
          candidate: true,
          passthrough: 'auto',
          config: { snapshots: { dir, increments, schedule: '0 3 1 1 *' } },
        });
        await primary.start();
        const replica = await cluster.follow(primary);
        const file = primary.file('app.db');
        sqlite3(
          file,
          `PRAGMA journal_mode=${mode}; CREATE TABLE t(x, y); CREATE TABLE pair(a, b);
          INSERT INTO pair VALUES(0, 0);
          INSERT INTO t SELECT value, randomblob(4000) FROM generate_series(1, 5000)`,
        );
        const config = ['--config', primary.configFile];
        assert.equal((await runCli(['snapshot', ...config])).status, 0);
        const good = archiveOf(dir, 'app.db').list().at(-1)?.maxTxid ?? 0;
        const hex = good.toString(16).padStart(16, '0');
        sqlite3(file, 'UPDATE t SET y = NULL WHERE x % 2; DELETE FROM t WHERE x > 4000');

        const end = await startApp(file, over.signal);
        const args = ['restore', 'app.db', '--dir', dir, '--in-place', ...config, '--txid'];
        const restored = await runCli([...args, hex]);
        assert.equal(restored.status, 0, restored.stderr);
        const rows = 'SELECT count(*), count(y) FROM t';
        assert.equal(
          sqlite3(file, `PRAGMA busy_timeout=${BUSY_MS}; ${rows}`).split('\n').at(-1),
          '5000|5000',
        );
        const undo = /to undo it: litefs-lite (.*)/.exec(restored.stdout)?.[1] ?? '';
        const undone = await runCli(undo.split(' '));
        assert.equal(undone.status, 0, undone.stderr);
        const seen = await end();
        const [, again] = /--txid ([0-9a-f]{16}) --in-place/.exec(undone.stdout) ?? [];
        const between = path.join(cluster.dir, 'between.db');
        const to = ['--dir', dir, '--txid', again, '--output', between];
        assert.equal((await runCli(['restore', 'app.db', ...to])).status, 0);
        // It counts from 0 after the first restore, and after the second from where that began.
        const [first, last] = [between, file].map((each) => sqlite3(each, 'SELECT a FROM pair'));
        assert.equal(Number(first) + Number(last), seen.writes, 'no commit is lost');
        assert.equal(sqlite3(file, rows), '4000|2000');
        assert.deepEqual(seen.errors, [], 'it waits for no lock longer than it is willing to');
        assert(seen.longestMs < BUSY_MS, `${seen.longestMs} ms`);
        assert(seen.reads > 10 && seen.writes > 10, JSON.stringify(seen));

        await inSync(primary, replica, 'app.db');
        assert.equal(sqlite3(replica.file('app.db'), rows), '4000|2000');
        assert.equal(sqlite3(file, 'SELECT a = b FROM pair; PRAGMA integrity_check'), '1\nok');
        assert.equal(await replica.stop(), 0);
        assert.equal(await primary.stop(), 0);
      } finally {
        over.abort();
        await cluster.close();
      }
    });
  }

  for (const mode of ['wal', 'delete']) {
    test(`writes only the pages that differ in mode ${mode}, and connections notice`, async () => {
      const cluster = new Cluster();
      try {
        const dir = path.join(cluster.dir, 'backups');
        const primary = await cluster.add('primary', {
          candidate: true,
          passthrough: 'auto',
          config: { snapshots: { dir, increments: 'off', schedule: '0 3 1 1 *' } },
        });
        await primary.start();
        const file = primary.file('app.db');
        sqlite3(
          file,
          `PRAGMA journal_mode=${mode}; CREATE TABLE t(x, y);
          INSERT INTO t SELECT value, randomblob(4000) FROM generate_series(1, 1000)`,
        );
        const config = ['--config', primary.configFile];
        assert.equal((await runCli(['snapshot', ...config])).status, 0);
        const txid = `${archiveOf(dir, 'app.db').list().at(-1)?.maxTxid.toString(16)}`;
        sqlite3(file, 'UPDATE t SET y = 1 WHERE x = 7; DELETE FROM t WHERE x > 800; VACUUM');
        const app = new Sqlite(file);
        try {
          const seen = () => [
            app.prepare('SELECT count(*), count(DISTINCT y) FROM t').raw().get(),
            app.pragma('quick_check', { simple: true }),
          ];
          assert.deepEqual(seen(), [[800, 800], 'ok']);
          app.prepare('UPDATE t SET y = 2 WHERE x = 8').run();
          const before = app.pragma('schema_version', { simple: true }) as number;
          const counter = () => fs.readFileSync(file).readUInt32BE(24);
          const counted = counter();
          // What is restored may come from elsewhere; what undoes it is in the node's own archive.
          const copy = path.join(cluster.dir, 'copy');
          fs.cpSync(dir, copy, { recursive: true });
          const args = ['restore', 'app.db', '--dir', copy, ...config, '--in-place', '--txid'];
          const restored = await runCli([...args, txid]);
          assert.equal(restored.status, 0, restored.stderr);
          assert(restored.stdout.trimEnd().endsWith(` --dir ${dir}`), restored.stdout);
          assert.deepEqual(seen(), [[1000, 1000], 'ok']);
          assert.equal(app.pragma('schema_version', { simple: true }), before + 1);
          if (mode === 'delete') assert.equal(counter(), counted + 1);
          assert.equal(app.pragma('journal_mode', { simple: true }), mode);
          if (mode !== 'wal') {
            sqlite3(file, 'PRAGMA page_size=8192; VACUUM');
            const refused = await runCli([...args, txid]);
            assert.equal(refused.status, 75);
            assert.match(refused.stderr, /app\.db has pages of 8192 bytes now.* of 4096\n/);
            return;
          }
          app.pragma('wal_checkpoint(TRUNCATE)');
          app.prepare('UPDATE t SET y = 3 WHERE x = 9').run();
          assert.equal((await runCli([...args, txid])).status, 0);
          assert.deepEqual(seen(), [[1000, 1000], 'ok']);
          const { size } = fs.statSync(`${file}-wal`);
          assert(size < 100_000, `${size} bytes of a database of 4 MB`);
        } finally {
          app.close();
        }
      } finally {
        await cluster.close();
      }
    });
  }
});
