/** What concerns all databases waits its turn at each, and what is under way at a stop ends in order. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { inSync, startCluster, until } from '../harness/cluster.ts';
import { databaseImage } from '../harness/image.ts';

const TRANSACTIONS = 12;
const IMPORTS = 3;
const ROWS = 25_000;

test('databases are imported while an application makes large transactions in another', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  const writer = spawn('sqlite3', ['-batch', '-bail', primary.file('app.db')], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  try {
    // 3 MB each: their capture takes several steps, between which others have their turn.
    writer.stdin.write('PRAGMA journal_mode = wal; CREATE TABLE t(x);\n');
    const insert =
      'INSERT INTO t SELECT randomblob(3000) FROM generate_series(1, 1000); DELETE FROM t;\n';
    writer.stdin.end(insert.repeat(TRANSACTIONS));
    const written = once(writer, 'exit');
    let isWritten = false;
    written.then(() => {
      isWritten = true;
    });
    const source = new Sqlite(':memory:');
    source.exec('CREATE TABLE t(x); INSERT INTO t VALUES(1)');
    const body = source.serialize();
    source.close();
    const importOne = async (_: unknown, lane: number) => {
      const where = `/import?name=imported-${lane}.db`;
      while (!isWritten) {
        const answer = await primary.api(where, { method: 'POST', body });
        assert.equal(answer.status, 200, await answer.text());
      }
    };
    await Promise.all(Array.from({ length: IMPORTS }, importOne));
    assert.deepEqual(await written, [0, null]);
    await inSync(primary, replica, 'app.db');
    const images = [primary, replica].map((node) => databaseImage(node.backing('app.db')));
    assert.ok(images[0].equals(images[1]));
  } finally {
    writer.kill('SIGKILL');
    await cluster.close();
  }
});

test('a replica that is stopped while it writes a large transaction has all of it, or writes it again', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    const app = new Sqlite(primary.file('app.db'));
    app.exec(`
      PRAGMA journal_mode = delete; PRAGMA cache_size = -200000;
      CREATE TABLE t(x BLOB);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
      INSERT INTO t SELECT randomblob(1000) FROM n;`);
    await inSync(primary, replica, 'app.db');
    const file = replica.backing('app.db');
    const { mtimeMs } = fs.statSync(file);
    app.exec('UPDATE t SET x = randomblob(1000)');
    await until('the replica writes', () => fs.statSync(file).mtimeMs !== mtimeMs);
    assert.equal(await replica.stop(), 0);
    assert.doesNotMatch(replica.logText(), /in use by|under those who use it/);
    await replica.start();
    await inSync(primary, replica, 'app.db');
    app.close();
    assert.ok(databaseImage(file).equals(databaseImage(primary.backing('app.db'))));
  } finally {
    await cluster.close();
  }
});
