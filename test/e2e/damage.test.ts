/** A replica whose disk changes bytes behind its back: it must find out, say so, and become right again. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';
import { turnByte, turnByteUnseen } from '../harness/damage.ts';
import { databaseImage } from '../harness/image.ts';
import { untilCopied } from '../harness/replicated.ts';

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

/** Past the mount. */
function damage(node: TestNode, name: string, pgno: number): void {
  turnByte(node.backing(name), inPage(pgno));
}

function inPage(pgno: number): number {
  return (pgno - 1) * PAGE_BYTES + 2000;
}

function assertSame(primary: TestNode, replica: TestNode, name: string): void {
  assert.ok(databaseImage(replica.backing(name)).equals(databaseImage(primary.backing(name))));
}

test('verify finds a damaged page of a replica, which is then fetched', async (t) => {
  const { cluster, primary, replica } = await startCluster('auto');
  t.after(() => cluster.close());
  fill(primary.file('app.db')).close();
  await untilCopied({ primary, replica }, 'app.db');
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
  await untilCopied({ primary, replica }, 'app.db');

  damage(replica, 'app.db', 30);
  db.exec('UPDATE t SET x = 1 WHERE rowid = 1');
  await replica.logged(/app\.db after \d+: 1 of \d+ pages are not what their checksums say/);
  await replica.logged(/app\.db is in sync again/);
  await inSync(primary, replica, 'app.db');
  assertSame(primary, replica, 'app.db');
});

test('the background finds a page of a replica, which is then fetched, and one of the primary, which is then captured', async (t) => {
  const { cluster, primary, replica } = await startCluster('auto', {
    config: { verify: { background: '1s' } },
  });
  t.after(() => cluster.close());
  fill(primary.file('app.db')).close();
  await untilCopied({ primary, replica }, 'app.db');

  damage(replica, 'app.db', 20);
  await replica.logged(/app\.db has 1 damaged pages/);
  await replica.logged(/app\.db is in sync again/);
  assertSame(primary, replica, 'app.db');
  const warned = async (node: TestNode) =>
    (await node.info()).warnings.some((text) => /^app\.db: at .* pages were found/.test(text));
  assert(await warned(replica));

  assert(!(await warned(primary)));
  const before = await primary.position('app.db');
  turnByteUnseen(primary.backing('app.db'), inPage(30), path.join(primary.data, 'unseen'));
  await primary.logged(/app\.db: page 30 is not what was captured of it/);
  await until('it is captured', async () => (await primary.position('app.db')) !== before);
  await inSync(primary, replica, 'app.db');
  assertSame(primary, replica, 'app.db');
  assert(await warned(primary));
  assert.match(
    await (await primary.api('/metrics')).text(),
    /database_faults_total\{.*app.db.*\} 1/,
  );
});

test('the background takes no commit for a fault', async (t) => {
  const { cluster, primary } = await startCluster('auto', {
    config: { verify: { background: '200ms' } },
  });
  t.after(() => cluster.close());
  const db = fill(primary.file('busy.db')).unsafeMode();
  t.after(() => db.close());
  for (const mode of ['wal', 'delete', 'persist', 'memory', 'off']) {
    db.pragma(`journal_mode = ${mode}`);
    // It spills, in the middle of the transaction, and is open for a while.
    db.pragma('cache_size = 5');
    const update = db.prepare('UPDATE t SET x = randomblob(1000) WHERE rowid % 7 = ?');
    for (let turn = 0; turn < 12; turn++) {
      db.exec('BEGIN');
      for (let part = 0; part < 7; part++) {
        update.run(part);
        await primary.position('busy.db');
      }
      db.exec(turn % 3 === 0 ? 'ROLLBACK' : 'COMMIT');
    }
  }
  assert.match(
    await (await primary.api('/metrics')).text(),
    /database_faults_total\{.*busy.db.*\} 0/,
  );
  assert.deepEqual((await verify(primary, 'busy.db')).badPages, []);
});

test('verify says that it cannot tell, of pages that an open transaction has written', async (t) => {
  const { cluster, primary } = await startCluster('auto');
  t.after(() => cluster.close());
  const db = fill(primary.file('open.db'));
  t.after(() => db.close());
  db.pragma('cache_size = 5');
  db.exec('BEGIN; UPDATE t SET x = randomblob(1000)');
  const response = await primary.api('/verify?name=open.db');
  const { code } = (await response.json()) as { code?: string };
  assert.deepEqual([response.ok, code], [false, 'DATABASE_BUSY']);
  db.exec('COMMIT');
  assert.equal((await verify(primary, 'open.db')).ok, true);
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
