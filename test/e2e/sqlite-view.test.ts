/** What one application sees of SQLite in the primary's mount is what it sees in a plain directory. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import type Sqlite from 'better-sqlite3';
import { inSync } from '../harness/cluster.ts';
import { assertReplicated, describePair, open } from '../harness/replicated.ts';

const MMAP_BYTES = 256 << 20;

/** A database outside of any mount, to compare with. */
function openPlain(t: TestContext): Sqlite.Database {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-plain-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return open(t, path.join(dir, 'plain.db'));
}

function createTable(db: Sqlite.Database): Sqlite.Statement {
  db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB)');
  return db.prepare('INSERT INTO t(data) VALUES(?)');
}

function insertRows(db: Sqlite.Database, rows: number, bytes = 500): void {
  const insert = db.prepare('INSERT INTO t(data) VALUES(?)');
  for (let i = 0; i < rows; i++) insert.run(Buffer.alloc(bytes, i));
}

describePair('one application', (pair) => {
  test('switches the journal mode back and forth', async (t) => {
    // Otherwise better-sqlite3 refuses journal_mode=OFF, and says nothing.
    const db = open(t, pair.primary.file('modes.db')).unsafeMode();
    createTable(db);
    for (const mode of ['wal', 'delete', 'wal', 'truncate', 'persist', 'memory', 'off', 'wal']) {
      assert.equal(db.pragma(`journal_mode = ${mode}`, { simple: true }), mode);
      insertRows(db, 10);
      await assertReplicated(pair, 'modes.db');
      db.exec('DELETE FROM t WHERE id % 3 = 0');
      await assertReplicated(pair, 'modes.db');
    }
  });

  test('holds the database in WAL mode with its wal-index on the heap', async (t) => {
    const file = pair.primary.file('exclusive-wal.db');
    const db = open(t, file);
    db.pragma('locking_mode = EXCLUSIVE');
    assert.equal(db.pragma('journal_mode = wal', { simple: true }), 'wal');
    // The log is started over several times while nobody else can look at its index.
    db.pragma('wal_autocheckpoint = 20');
    createTable(db);
    assert.ok(!fs.existsSync(`${file}-shm`));
    const other = open(t, file, { timeout: 0 });
    for (let i = 0; i < 10; i++) {
      insertRows(db, 20);
      await assertReplicated(pair, 'exclusive-wal.db');
    }
    assert.throws(() => other.prepare('SELECT count(*) FROM t').get(), /database is locked/);
    // SQLite lets go of a database with a heap wal-index only by leaving WAL mode.
    assert.equal(db.pragma('journal_mode = delete', { simple: true }), 'delete');
    db.pragma('locking_mode = NORMAL');
    insertRows(db, 20);
    assert.deepEqual(other.prepare('SELECT count(*) AS n FROM t').get(), { n: 220 });
    await assertReplicated(pair, 'exclusive-wal.db');
  });

  for (const mode of ['delete', 'truncate', 'persist']) {
    test(`holds the database in ${mode} mode`, async (t) => {
      const name = `exclusive-${mode}.db`;
      const db = open(t, pair.primary.file(name));
      db.pragma(`journal_mode = ${mode}`);
      db.pragma('locking_mode = EXCLUSIVE');
      createTable(db);
      const other = open(t, pair.primary.file(name), { timeout: 0 });
      for (let i = 0; i < 5; i++) {
        insertRows(db, 3);
        await assertReplicated(pair, name);
      }
      assert.throws(() => other.prepare('SELECT count(*) FROM t').get(), /database is locked/);
      db.pragma('locking_mode = NORMAL');
      insertRows(db, 1);
      assert.deepEqual(other.prepare('SELECT count(*) AS n FROM t').get(), { n: 16 });
      await assertReplicated(pair, name);
    });
  }

  test('gets the same rows of every kind of checkpoint', async (t) => {
    const results = [open(t, pair.primary.file('checkpoints.db')), openPlain(t)].map((db) => {
      db.pragma('journal_mode = wal');
      createTable(db);
      const rows: unknown[] = [];
      for (const kind of ['PASSIVE', 'FULL', 'RESTART', 'TRUNCATE']) {
        for (let i = 0; i < 3; i++) {
          insertRows(db, 7);
          rows.push(db.pragma(`wal_checkpoint(${kind})`));
          rows.push(db.pragma(`wal_checkpoint(${kind})`));
        }
      }
      return rows;
    });
    assert.deepEqual(results[0], results[1]);
    await assertReplicated(pair, 'checkpoints.db');
  });

  test('maps the database into its memory', async (t) => {
    const file = pair.primary.file('mapped.db');
    const [db, plain] = [open(t, file), openPlain(t)];
    const mapped = `mmap_size = ${MMAP_BYTES}`;
    assert.deepEqual(db.pragma(mapped), plain.pragma(mapped));
    const checksum = 'SELECT count(*) AS n, sum(data) AS s, max(length(pad)) AS l FROM m';
    for (const mode of ['wal', 'delete']) {
      db.pragma(`journal_mode = ${mode}`);
      const reader = open(t, file);
      reader.pragma(mapped);
      db.exec('CREATE TABLE IF NOT EXISTS m(id INTEGER PRIMARY KEY, data INT, pad BLOB)');
      const insert = db.prepare('INSERT INTO m(data, pad) VALUES(?, zeroblob(3000))');
      for (let i = 0; i < 40; i++) {
        insert.run(i);
        if (i % 10 === 0) db.pragma('wal_checkpoint(TRUNCATE)');
        assert.deepEqual(reader.prepare(checksum).get(), db.prepare(checksum).get());
      }
      db.exec('DELETE FROM m WHERE id % 2 = 0; VACUUM');
      assert.deepEqual(reader.prepare(checksum).get(), db.prepare(checksum).get());
      reader.close();
      await assertReplicated(pair, 'mapped.db');
    }
  });

  test('starts the log over many times with synchronous=OFF', async (t) => {
    const db = open(t, pair.primary.file('restarts.db'));
    db.pragma('journal_mode = wal');
    db.pragma('synchronous = OFF');
    db.pragma('wal_autocheckpoint = 5');
    createTable(db);
    for (let i = 0; i < 10; i++) {
      insertRows(db, 100, 3000);
      await inSync(pair.primary, pair.replica, 'restarts.db');
    }
    insertRows(db, 1000);
    await assertReplicated(pair, 'restarts.db');
  });

  test('has the log cut back when it starts over, with synchronous=OFF', async (t) => {
    const db = open(t, pair.primary.file('cut.db'));
    db.exec('PRAGMA journal_mode = wal; PRAGMA synchronous = OFF; PRAGMA journal_size_limit = 0');
    createTable(db);
    insertRows(db, 1000);
    const update = db.prepare('UPDATE t SET data = ? WHERE id = ?');
    for (let i = 0; i < 8000; i++) update.run(Buffer.alloc(500, i), (i % 1000) + 1);
    await assertReplicated(pair, 'cut.db');
  });

  test('changes the page size', async (t) => {
    const db = open(t, pair.primary.file('page-size.db'));
    const insert = createTable(db);
    insert.run(Buffer.alloc(100_000, 1));
    for (const pageSize of [512, 65536, 1024, 4096]) {
      db.pragma('journal_mode = delete');
      db.pragma(`page_size = ${pageSize}`);
      db.exec('VACUUM');
      assert.equal(db.pragma('page_size', { simple: true }), pageSize);
      await assertReplicated(pair, 'page-size.db');
      db.pragma('journal_mode = wal');
      insertRows(db, 10);
      await assertReplicated(pair, 'page-size.db');
    }
  });

  for (const mode of ['wal', 'delete']) {
    test(`gives free pages back bit by bit in ${mode} mode`, async (t) => {
      const name = `incremental-${mode}.db`;
      const db = open(t, pair.primary.file(name));
      db.pragma('auto_vacuum = INCREMENTAL');
      db.pragma(`journal_mode = ${mode}`);
      createTable(db);
      insertRows(db, 100, 4000);
      db.exec('DELETE FROM t WHERE id % 2 = 0');
      const before = db.pragma('page_count', { simple: true }) as number;
      for (let i = 0; i < 4; i++) {
        db.exec('PRAGMA incremental_vacuum(10)');
        await assertReplicated(pair, name);
      }
      assert.equal(db.pragma('page_count', { simple: true }), before - 40);
    });

    test(`rolls a large transaction back that has spilled, in ${mode} mode`, async (t) => {
      const name = `spilled-${mode}.db`;
      const db = open(t, pair.primary.file(name));
      db.pragma(`journal_mode = ${mode}`);
      db.pragma('cache_size = 5');
      db.pragma('cache_spill = 1');
      createTable(db);
      insertRows(db, 50, 2000);
      await assertReplicated(pair, name);
      const sum = 'SELECT count(*) AS n, total(length(data)) AS l FROM t';
      const before = db.prepare(sum).get();
      const position = await pair.primary.position(name);
      db.exec('BEGIN');
      insertRows(db, 1000, 2000);
      db.exec('UPDATE t SET data = zeroblob(10) WHERE id < 30; ROLLBACK');
      assert.deepEqual(db.prepare(sum).get(), before);
      assert.equal(await pair.primary.position(name), position, 'nothing was committed');
      await assertReplicated(pair, name);
      db.exec('BEGIN');
      insertRows(db, 300, 2000);
      db.exec('SAVEPOINT s');
      insertRows(db, 300, 3000);
      db.exec('ROLLBACK TO s; COMMIT');
      assert.deepEqual(db.prepare('SELECT count(*) AS n FROM t').get(), { n: 350 });
      await assertReplicated(pair, name);
    });
  }
});
