/** A replica whose disk changes bytes behind its back: it must find out, say so, and become right again. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';
import { databaseImage } from '../harness/image.ts';

const PAGE_BYTES = 4096;
const ROWS = 400;

interface Verdict {
  readonly ok: boolean;
  readonly badPages: readonly number[];
}

async function verify(node: TestNode, name: string): Promise<Verdict> {
  const response = await node.api(`/verify?name=${name}`);
  return (await response.json()) as Verdict;
}

function fill(file: string): Sqlite.Database {
  const db = new Sqlite(file);
  db.exec(`PRAGMA journal_mode = delete; CREATE TABLE t(x);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
    INSERT INTO t SELECT randomblob(1000) FROM n`);
  return db;
}

/** Turns one byte of a page around, past the mount. */
function damage(node: TestNode, name: string, pgno: number): void {
  const fd = fs.openSync(node.backing(name), 'r+');
  const at = (pgno - 1) * PAGE_BYTES + 2000;
  const byte = Buffer.alloc(1);
  fs.readSync(fd, byte, 0, 1, at);
  byte[0] ^= 0xff;
  fs.writeSync(fd, byte, 0, 1, at);
  fs.closeSync(fd);
}

function assertSame(primary: TestNode, replica: TestNode, name: string): void {
  assert.ok(databaseImage(replica.backing(name)).equals(databaseImage(primary.backing(name))));
}

test('verify finds a damaged page of a replica, which is then fetched', async (t) => {
  const { cluster, primary, replica } = await startCluster('auto');
  t.after(() => cluster.close());
  fill(primary.file('app.db')).close();
  await inSync(primary, replica, 'app.db');
  assert.equal((await verify(replica, 'app.db')).ok, true);

  damage(replica, 'app.db', 20);
  const verdict = await verify(replica, 'app.db');
  assert.deepEqual(verdict.badPages, [20]);
  assert.equal(verdict.ok, false);
  await replica.logged(/app\.db is in sync again/);
  assert.equal((await verify(replica, 'app.db')).ok, true);
  assertSame(primary, replica, 'app.db');
});

test('strict-verify finds it with the next transaction', async (t) => {
  const { cluster, primary, replica } = await startCluster('auto', {
    config: { 'strict-verify': true },
  });
  t.after(() => cluster.close());
  const db = fill(primary.file('app.db'));
  t.after(() => db.close());
  await inSync(primary, replica, 'app.db');

  damage(replica, 'app.db', 30);
  db.exec('UPDATE t SET x = 1 WHERE rowid = 1');
  await replica.logged(/app\.db after \d+: 1 of \d+ pages are not what their checksums say/);
  await replica.logged(/app\.db is in sync again/);
  await inSync(primary, replica, 'app.db');
  assertSame(primary, replica, 'app.db');
});

test('verify is not deceived by an app that goes on writing', async (t) => {
  const { cluster, primary } = await startCluster('auto');
  t.after(() => cluster.close());
  const db = fill(primary.file('busy.db'));
  t.after(() => db.close());
  for (const mode of ['wal', 'delete']) {
    db.pragma(`journal_mode = ${mode}`);
    const update = db.prepare(`UPDATE t SET x = randomblob(1000) WHERE rowid % ${ROWS / 8} = ?`);
    let verdicts = 0;
    let writes = 0;
    while (verdicts < 5) {
      const pending = verify(primary, 'busy.db').then((verdict) => {
        verdicts++;
        assert.deepEqual(verdict.badPages, []);
        assert.equal(verdict.ok, true);
      });
      let done = false;
      pending.finally(() => {
        done = true;
      });
      await until('the verdict is there', () => {
        for (let i = 0; i < 5 && !done; i++) update.run(writes++ % 50);
        return done;
      });
      await pending;
    }
    assert.ok(writes > 5);
  }
});
