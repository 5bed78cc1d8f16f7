/**
 * Snapshots and verify read all pages while an application commits. What they wait for is the end of its transaction,
 * which must not wait for them.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { sqlite3 } from '../harness/app.ts';
import { Cluster, type TestNode, until } from '../harness/cluster.ts';
import { databaseImage, positionOf } from '../harness/image.ts';

const WRITER = path.resolve(import.meta.dirname, '../harness/page-writer.ts');
const ROUNDS = 8;
/** A commit takes some ms; one that waits for a cut to give up, a minute. */
const COMMIT_MS_MAX = 5000;

/** A primary that cuts snapshots when it is asked to. */
async function withSnapshots(): Promise<{ cluster: Cluster; primary: TestNode }> {
  const cluster = new Cluster();
  const dir = path.join(cluster.dir, 'backups');
  fs.mkdirSync(dir);
  const snapshots = { dir, schedule: '0 3 1 1 *', increments: 'off', verify: 'quick' };
  const settings = { candidate: true, passthrough: 'auto', config: { snapshots } } as const;
  const primary = await cluster.add('primary', settings);
  await primary.start();
  return { cluster, primary };
}

for (const mode of ['delete', 'wal']) {
  test(`snapshots and verify hold up no commit in mode ${mode}, and are right`, async () => {
    const { cluster, primary } = await withSnapshots();
    try {
      const file = primary.file('app.db');
      sqlite3(
        file,
        `PRAGMA journal_mode=${mode}; CREATE TABLE t(id INTEGER PRIMARY KEY, data);
        INSERT INTO t SELECT value, randomblob(3000) FROM generate_series(1, 2000)`,
      );
      const writer = spawn(process.execPath, [WRITER, file, mode], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      try {
        const lines = readline.createInterface({ input: writer.stdout })[Symbol.asyncIterator]();
        assert.equal((await lines.next()).value, 'goes');
        for (let round = 0; round < ROUNDS; round++) {
          const cut = await primary.api('/snapshot?name=app.db', { method: 'POST' });
          const run = (await cut.json()) as { ok: boolean };
          assert(run.ok, JSON.stringify(run));
          const verified = (await (await primary.api('/verify?name=app.db')).json()) as {
            ok: boolean;
          };
          assert(verified.ok, JSON.stringify(verified));
        }
        writer.stdin.end();
        const { value } = await lines.next();
        const { commits, longestMs } = JSON.parse(value ?? '{}');
        assert(commits > ROUNDS, `${commits} commits`);
        assert(longestMs < COMMIT_MS_MAX, `a commit took ${Math.round(longestMs)} ms`);
      } finally {
        writer.kill('SIGKILL');
      }
    } finally {
      await cluster.close();
    }
  });
}

test('a database that is made anew while a snapshot waits is captured as what it is now', async () => {
  const { cluster, primary } = await withSnapshots();
  try {
    const file = primary.file('anew.db');
    // As many pages and as high a change counter as its successor will have: nothing but the content tells them apart.
    const sql = (letter: string) =>
      `PRAGMA journal_mode=persist; CREATE TABLE t AS SELECT value, hex(zeroblob(1000)) || '${letter}' AS x FROM generate_series(1, 100)`;
    sqlite3(file, sql('a'));
    const app = new Sqlite(file);
    try {
      app.exec("PRAGMA cache_size = 5; BEGIN; UPDATE t SET x = 'not committed yet' || x");
      const asked = primary.api('/snapshot?name=anew.db', { method: 'POST' });
      asked.catch(() => {});
      await until('the snapshot is begun', () =>
        fs
          .readdirSync(path.join(cluster.dir, 'backups'), { recursive: true })
          .some((name) => String(name).endsWith('.tmp')),
      );
      fs.rmSync(file);
      fs.rmSync(`${file}-journal`);
      sqlite3(file, sql('b'));
      const position = await primary.position('anew.db');
      const image = databaseImage(file);
      assert.equal(positionOf(Number.parseInt(position, 16), image), position);
      assert.equal((await asked).status, 200);
      assert.equal(await primary.position('anew.db'), position);
    } finally {
      app.close();
    }
  } finally {
    await cluster.close();
  }
});
