/** The halt lock: a replica writes for a while, and what its commits say is true on the primary. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { program, runCli } from '../harness/cli.ts';
import {
  type Cluster,
  inSync,
  type Passthrough,
  startCluster,
  type TestNode,
  until,
} from '../harness/cluster.ts';
import {
  assertSame,
  halt,
  JOURNAL_MODES,
  lockArguments,
  sqlite,
  underLock,
} from '../harness/halt.ts';
import { runShell, shellOutput } from '../harness/sqlite-shell.ts';

for (const passthrough of ['auto', 'off'] as const) {
  describe(`halt lock, passthrough ${passthrough}`, () => {
    let cluster: Cluster;
    let nodes: TestNode[];
    let primary: TestNode;
    let replica: TestNode;
    before(async () => {
      const started = await startCluster(passthrough as Passthrough, { replicas: 2 });
      ({ cluster, primary, replica } = started);
      nodes = [primary, ...started.replicas];
    });
    after(() => cluster?.close());

    async function create(database: string, mode: string): Promise<void> {
      await shellOutput(
        primary.file(database),
        `PRAGMA journal_mode=${mode};
         CREATE TABLE t(id INTEGER PRIMARY KEY, x);
         WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 500)
         INSERT INTO t SELECT i, randomblob(100) FROM c;`,
      );
      for (const node of nodes) await inSync(primary, node, database);
    }

    for (const mode of JOURNAL_MODES) {
      it(`migrates in journal mode ${mode}`, async () => {
        const database = `migrate-${mode}.db`;
        await create(database, mode);
        const reader = new Sqlite(replica.file(database), { readonly: true });
        assert.equal(reader.prepare('SELECT count(*) AS n FROM t').pluck().get(), 500);
        const noticing = new Sqlite(primary.file(database), { readonly: true });
        assert.equal(noticing.prepare('SELECT count(*) AS n FROM t').pluck().get(), 500);
        const run = await sqlite(
          replica,
          database,
          `ALTER TABLE t ADD COLUMN y;
           CREATE INDEX t_x ON t(x);
           BEGIN; UPDATE t SET y = id * 2; DELETE FROM t WHERE id % 3 = 0; COMMIT;
           BEGIN; INSERT INTO t(x) VALUES('never'); ROLLBACK;
           PRAGMA cache_size=5;
           BEGIN; INSERT INTO t(x) SELECT randomblob(3000) FROM t; UPDATE t SET y = 7; COMMIT;
           DELETE FROM t WHERE id > 400;
           VACUUM;
           SELECT count(*) FROM t;`,
        );
        assert.equal(run.status, 0, `${run.stderr}\n${replica.logText()}\n${primary.logText()}`);
        assert.match(run.stdout, /267\n$/);
        for (const connection of [reader, noticing]) {
          assert.equal(connection.prepare('SELECT count(*) AS n FROM t').pluck().get(), 267);
          connection.close();
        }
        await assertSame(nodes, database);
        // The primary writes again, and the replica does not.
        await shellOutput(primary.file(database), "INSERT INTO t(x) VALUES('primary');");
        await assertSame(nodes, database);
        const refused = await runShell(replica.file(database), 'DELETE FROM t;');
        assert.match(refused.stderr, /readonly database/);
      });
    }

    for (const mode of ['wal', 'delete']) {
      it(`ships what is larger than a frame in journal mode ${mode}, and waits for no checkpoint`, async () => {
        const database = `large-${mode}.db`;
        await create(database, mode);
        const checkpoint = mode === 'wal' ? 'PRAGMA wal_checkpoint(TRUNCATE);' : '';
        const run = await sqlite(
          replica,
          database,
          `INSERT INTO t(x) SELECT randomblob(20000) FROM t;
           ${checkpoint}
           UPDATE t SET x = randomblob(10) WHERE id = 1;
           ${checkpoint}
           INSERT INTO t(x) SELECT randomblob(9000) FROM t;
           DELETE FROM t WHERE id > 700;`,
        );
        assert.equal(run.status, 0, run.stderr);
        await assertSame(nodes, database);
      });

      it(`lets the primary's writer wait in journal mode ${mode}`, async () => {
        const database = `waits-${mode}.db`;
        await create(database, mode);
        const query = `name=${database}&id=7`;
        const { status, body } = await halt(replica, 'POST', query);
        assert.equal(status, 200, JSON.stringify(body));
        for (const node of [primary, replica]) {
          const report = (await node.info()).databases.find(({ name }) => name === database);
          assert.equal(report?.haltHolder, os.hostname(), node.name);
        }
        const waiting = new Sqlite(primary.file(database), { timeout: 0 });
        assert.equal(waiting.prepare('SELECT count(*) FROM t').pluck().get(), 500, 'it may read');
        assert.throws(() => waiting.exec('DELETE FROM t'), /database is locked/);
        const writer = new Sqlite(replica.file(database));
        writer.exec('DELETE FROM t WHERE id > 100');
        assert.equal(
          waiting.prepare('SELECT count(*) FROM t').pluck().get(),
          100,
          'the primary had it when the commit returned',
        );
        assert.throws(() => waiting.exec('DELETE FROM t'), /database is locked/);
        writer.close();
        assert.equal((await halt(replica, 'DELETE', query)).status, 200);
        await until('the primary writes again', () => {
          try {
            waiting.exec('DELETE FROM t WHERE id > 50');
            return true;
          } catch {
            return false;
          }
        });
        waiting.close();
        await assertSame(nodes, database);
      });

      it(`lets the primary's writer end first in journal mode ${mode}`, async () => {
        const database = `first-${mode}.db`;
        await create(database, mode);
        const writer = spawn('sqlite3', ['-batch', primary.file(database)], { stdio: 'pipe' });
        let out = '';
        writer.stdout.on('data', (text) => (out += text));
        const ended = new Promise((resolve) => writer.on('exit', resolve));
        writer.stdin.write('BEGIN; DELETE FROM t WHERE id > 300; SELECT 4711;\n');
        await until('it is in its transaction', () => out.includes('4711'));
        const query = `name=${database}&id=10`;
        const asked = halt(replica, 'POST', query);
        await new Promise((resolve) => setTimeout(resolve, 300));
        const startedMs = performance.now();
        writer.stdin.end('COMMIT;\n');
        assert.equal(await ended, 0);
        assert.ok(performance.now() - startedMs < 2000, 'it was not held up');
        assert.equal((await asked).status, 200);
        const ours = new Sqlite(replica.file(database));
        assert.equal(ours.prepare('SELECT count(*) FROM t').pluck().get(), 300);
        ours.exec('DELETE FROM t WHERE id > 200');
        ours.close();
        assert.equal((await halt(replica, 'DELETE', query)).status, 200);
        await assertSame(nodes, database);
      });

      it(`refuses what is committed after the lock was given back in journal mode ${mode}`, async () => {
        const database = `late-${mode}.db`;
        await create(database, mode);
        const query = `name=${database}&id=8`;
        assert.equal((await halt(replica, 'POST', query)).status, 200);
        const writer = new Sqlite(replica.file(database));
        writer.exec('BEGIN; DELETE FROM t WHERE id > 250');
        assert.equal((await halt(replica, 'DELETE', query)).status, 200);
        const ours = shellOutput(primary.file(database), 'DELETE FROM t WHERE id < 50;');
        await ours;
        assert.throws(() => writer.exec('COMMIT'), /disk I\/O error|readonly/);
        writer.close();
        await assertSame(nodes, database);
        const rows = await shellOutput(replica.file(database), 'SELECT count(*) FROM t;');
        assert.equal(rows, '451');
      });

      it(`undoes what a killed program had begun in journal mode ${mode}`, async () => {
        const database = `killed-${mode}.db`;
        await create(database, mode);
        const query = `name=${database}&id=9`;
        assert.equal((await halt(replica, 'POST', query)).status, 200);
        const child = spawn('sqlite3', ['-batch', replica.file(database)], { stdio: 'pipe' });
        let out = '';
        child.stdout.on('data', (text) => (out += text));
        child.stdin.write(
          'PRAGMA cache_size=2; BEGIN; UPDATE t SET x = randomblob(2000); SELECT 4711;\n',
        );
        await until('it is in its transaction', () => out.includes('4711'));
        const ended = new Promise((resolve) => child.on('exit', resolve));
        child.kill('SIGKILL');
        await ended;
        assert.equal((await halt(replica, 'DELETE', query)).status, 200);
        await shellOutput(primary.file(database), 'DELETE FROM t WHERE id < 50;');
        await assertSame(nodes, database);
      });
    }

    // Where page 1 asks for a journal, SQLite goes by the file alone when the -wal is empty: half of a transaction was read so.
    it('keeps a -wal that readers go by, whatever a checkpoint cuts off', async () => {
      const database = 'emptied.db';
      await create(database, 'delete');
      const query = `name=${database}&id=11`;
      assert.equal((await halt(replica, 'POST', query)).status, 200);
      const writer = new Sqlite(replica.file(database));
      const reader = new Sqlite(replica.file(database), { readonly: true, timeout: 0 });
      try {
        const grow = 'UPDATE t SET x = randomblob(200)';
        writer.exec(grow);
        writer.pragma('wal_checkpoint(TRUNCATE)');
        assert.notEqual(fs.statSync(replica.backing(`${database}-wal`)).size, 0);
        reader.exec('BEGIN');
        const bytes = reader.prepare('SELECT sum(length(x)) FROM t').pluck();
        assert.equal(bytes.get(), 500 * 200);
        writer.exec('UPDATE t SET x = randomblob(300)');
        writer.pragma('wal_checkpoint(PASSIVE)');
        assert.equal(bytes.get(), 500 * 200);
        reader.exec('COMMIT');
        assert.equal(bytes.get(), 500 * 300);
        assert.equal(reader.pragma('integrity_check', { simple: true }), 'ok');
      } finally {
        writer.close();
        reader.close();
      }
      assert.equal((await halt(replica, 'DELETE', query)).status, 200);
      await assertSame(nodes, database);
    });

    it('refuses a second holder, by name', async () => {
      const database = 'second.db';
      await create(database, 'wal');
      assert.equal((await halt(replica, 'POST', `name=${database}&id=1`)).status, 200);
      const again = await halt(replica, 'POST', `name=${database}&id=1`);
      assert.equal(again.status, 200, 'who has it keeps it');
      for (const node of nodes) {
        const { status, body } = await halt(node, 'POST', `name=${database}&id=2`);
        assert.equal(status, 503, node.name);
        assert.match(String(body.message), /halt lock of second\.db is held by/);
      }
      assert.equal((await halt(replica, 'DELETE', `name=${database}&id=1`)).status, 200);
      await until('the other has it', async () => {
        const { status } = await halt(nodes[2], 'POST', `name=${database}&id=2`);
        return status === 200;
      });
      assert.equal((await halt(nodes[2], 'DELETE', `name=${database}&id=2`)).status, 200);
    });

    it('answers as LiteFS does, and says what is wrong with a request', async () => {
      const database = 'answers.db';
      await create(database, 'delete');
      const { status, body } = await halt(replica, 'POST', `name=${database}&id=12`);
      assert.equal(status, 200);
      const pos = body.pos as { txid: string; postApplyChecksum: string };
      assert.equal(body.id, 12);
      assert.equal(`${pos.txid}/${pos.postApplyChecksum}`, await replica.position(database));
      assert.ok(Date.parse(String(body.expires)) > Date.now());
      const wrong: [string, number, RegExp][] = [
        [`name=${database}&id=13`, 503, /not held by number 13/],
        ['name=nope.db&id=12', 503, /not held/],
        [`name=${database}`, 400, /which lock/],
        [`name=${database}&id=-1`, 400, /which lock/],
        ['name=../x&id=1', 400, /no name/],
      ];
      for (const [query, expected, message] of wrong) {
        const answer = await halt(replica, 'DELETE', query);
        assert.equal(answer.status, expected, query);
        assert.match(String(answer.body.message), message);
      }
      assert.equal((await halt(replica, 'DELETE', `name=${database}&id=12`)).status, 200);
      for (const node of nodes) {
        assert.equal((await halt(node, 'POST', 'name=nope.db&id=1')).status, 404);
        assert.equal((await halt(node, 'DELETE', 'name=nope.db&id=1')).status, 503);
      }
    });

    it('runs the command on the primary itself', async () => {
      const database = 'own.db';
      await create(database, 'wal');
      const run = await sqlite(primary, database, 'DELETE FROM t; SELECT count(*) FROM t;');
      assert.equal(run.status, 0, run.stderr);
      await assertSame(nodes, database);
    });

    it("ends with the command's status, and does not run it without the lock", async () => {
      const database = 'status.db';
      await create(database, 'wal');
      const failed = await underLock(replica, database, ['sh', '-c', 'exit 3']);
      assert.equal(failed.status, 3);
      const none = await underLock(replica, 'nope.db', ['sh', '-c', 'echo ran']);
      assert.notEqual(none.status, 0);
      assert.equal(none.stdout, '');
      assert.match(none.stderr, /no database nope\.db/);
      const outside = await runCli([
        ...lockArguments(replica, database).map((arg) =>
          arg === replica.file(database) ? '/nowhere/x.db' : arg,
        ),
        'true',
      ]);
      assert.equal(outside.status, 64);
    });

    it('keeps the journal mode, in which another one is refused or changes nothing', async () => {
      const database = 'rules.db';
      await create(database, 'delete');
      for (const mode of ['memory', 'off', 'delete']) {
        const run = await sqlite(replica, database, `PRAGMA journal_mode=${mode}; DELETE FROM t;`);
        assert.match(run.stderr, /database is locked/, mode);
        assert.notEqual(run.status, 0, mode);
      }
      const run = await sqlite(
        replica,
        database,
        `PRAGMA journal_mode=wal;
         ATTACH '${cluster.dir}/other.db' AS o; CREATE TABLE o.u(x);
         BEGIN; INSERT INTO o.u VALUES(1); DELETE FROM t WHERE id > 400; COMMIT;`,
      );
      assert.equal(run.status, 0, run.stderr);
      await assertSame(nodes, database);
      const rows = await shellOutput(replica.file(database), 'SELECT count(*) FROM t;');
      assert.equal(rows, '400');
      assert.match(await shellOutput(primary.file(database), 'PRAGMA journal_mode;'), /delete/);
    });

    it('commits what an old SQLite leaves frames without salts and checksums of', async () => {
      // SQLite before 3.51 does, where a savepoint that has written a page twice is rolled back.
      const database = 'unsalted.db';
      await create(database, 'wal');
      for (const cache of [5, 20, 60]) {
        const run = await sqlite(
          replica,
          database,
          `PRAGMA cache_size=${cache};
           BEGIN; SAVEPOINT s;
           INSERT INTO t(x) SELECT randomblob(3000) FROM t; UPDATE t SET x = randomblob(2000);
           ROLLBACK TO s; RELEASE s; UPDATE t SET x = ${cache} WHERE id < 150; COMMIT;
           INSERT INTO t(x) VALUES(${cache});
           SELECT count(*) FROM t WHERE x = ${cache};`,
        );
        assert.equal(run.status, 0, run.stderr);
        assert.match(run.stdout, /150\n$/);
        await assertSame(nodes, database);
      }
    });

    for (const mode of ['wal', 'delete']) {
      it(`lets nobody remove or rename its database on the primary in journal mode ${mode}, at once`, async () => {
        const database = `stays-${mode}.db`;
        await create(database, mode);
        const query = `name=${database}&id=14`;
        assert.equal((await halt(replica, 'POST', query)).status, 200);
        const writer = new Sqlite(replica.file(database));
        const file = primary.file(database);
        const commits = 30;
        const tries = (async () => {
          for (let i = 0; i < commits; i++) {
            await assert.rejects(fs.promises.rm(file), /EBUSY/);
            await assert.rejects(fs.promises.rename(file, `${file}.old`), /EBUSY/);
          }
        })();
        for (let id = 1; id <= commits; id++) {
          writer.exec(`DELETE FROM t WHERE id = ${id}`);
          await new Promise(setImmediate);
        }
        await tries;
        writer.close();
        assert.equal((await halt(replica, 'DELETE', query)).status, 200);
        await assertSame(nodes, database);
        await fs.promises.rm(file);
        await until('it is gone', () => !fs.existsSync(replica.file(database)));
      });
    }

    it('is given back within its time when the holder is killed', async () => {
      const database = 'orphan.db';
      await create(database, 'wal');
      const child: ChildProcess = spawn(
        program(),
        [...lockArguments(replica, database), 'sleep', '60'],
        {
          detached: true,
          stdio: 'ignore',
        },
      );
      try {
        await replica.logged(/orphan\.db may be written here/);
        await assert.rejects(
          shellOutput(primary.file(database), '.timeout 100\nDELETE FROM t;'),
          /locked/,
        );
        process.kill(-(child.pid as number), 'SIGKILL');
        const startedMs = performance.now();
        await shellOutput(primary.file(database), '.timeout 20000\nDELETE FROM t WHERE id > 9;');
        assert.ok(performance.now() - startedMs < 12_000);
      } finally {
        child.kill('SIGKILL');
      }
      await assertSame(nodes, database);
    });
  });
}
