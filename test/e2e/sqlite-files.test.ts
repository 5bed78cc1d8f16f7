/** Databases as files in the primary's mount: copied, moved, attached, backed up, removed, shared. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { until } from '../harness/cluster.ts';
import { assertReplicated, describePair, open } from '../harness/replicated.ts';
import { createBank, runClient } from '../harness/sqlite-client.ts';

const WRITERS = 8;
const TRANSACTIONS = 25;
const BUSY_MS = 60_000;

/** A database with rows that tell it from others. */
function make(file: string, mode: string, label: string, rows: number): void {
  const db = new Sqlite(file);
  try {
    db.pragma(`journal_mode = ${mode}`);
    db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, label TEXT, pad BLOB)');
    const insert = db.prepare('INSERT INTO t(label, pad) VALUES(?, zeroblob(900))');
    db.transaction(() => {
      for (let i = 0; i < rows; i++) insert.run(label);
    })();
  } finally {
    db.close();
  }
}

/** What is in such a database. */
function labels(file: string): Record<string, number> {
  const db = new Sqlite(file, { readonly: true });
  try {
    const rows = db.prepare('SELECT label, count(*) AS n FROM t GROUP BY label').all();
    return Object.fromEntries((rows as { label: string; n: number }[]).map((r) => [r.label, r.n]));
  } finally {
    db.close();
  }
}

describePair('databases as files', (pair) => {
  for (const mode of ['wal', 'delete']) {
    test(`one transaction over two attached databases, both in ${mode} mode`, async (t) => {
      const names = [`main-${mode}.db`, `other-${mode}.db`];
      for (const name of names) make(pair.primary.file(name), mode, 'first', 3);
      const db = open(t, pair.primary.file(names[0]));
      db.prepare('ATTACH ? AS other').run(pair.primary.file(names[1]));
      for (let i = 0; i < 5; i++) {
        db.exec(`BEGIN;
          INSERT INTO main.t(label, pad) VALUES('both', zeroblob(5000));
          INSERT INTO other.t(label, pad) VALUES('both', zeroblob(5000));
          UPDATE main.t SET pad = zeroblob(${i}) WHERE label = 'first';
          COMMIT;`);
        for (const name of names) await assertReplicated(pair, name);
      }
      db.exec("BEGIN; DELETE FROM main.t; DELETE FROM other.t WHERE label = 'both'; ROLLBACK");
      for (const name of names) {
        await assertReplicated(pair, name);
        assert.deepEqual(labels(pair.replica.file(name)), { first: 3, both: 5 });
      }
      assert.deepEqual(
        fs.readdirSync(pair.primary.mount).filter((name) => name.includes('-mj')),
        [],
      );
    });

    test(`${WRITERS} processes write to one database in ${mode} mode`, async (t) => {
      const name = `shared-${mode}.db`;
      const file = pair.primary.file(name);
      createBank(file, mode);
      const runs = Array.from({ length: WRITERS }, () =>
        runClient('write', file, String(TRANSACTIONS), String(BUSY_MS)),
      );
      await Promise.all(runs.map(({ output }) => output));
      const db = open(t, file);
      const moves = db.prepare('SELECT count(*) AS n FROM moves').get();
      assert.deepEqual(moves, { n: WRITERS * TRANSACTIONS });
      assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
      await assertReplicated(pair, name);
    });

    test(`a file is copied over a database in ${mode} mode`, async () => {
      const name = `over-${mode}.db`;
      make(pair.primary.file(name), mode, 'old', 300);
      make(pair.primary.file(`source-${mode}.db`), mode, 'new', 40);
      await assertReplicated(pair, name);
      execFileSync('cp', [pair.primary.file(`source-${mode}.db`), pair.primary.file(name)]);
      await assertReplicated(pair, name);
      assert.deepEqual(labels(pair.replica.file(name)), { new: 40 });
    });

    test(`a database is moved onto another one in ${mode} mode`, async () => {
      const [name, moved] = [`onto-${mode}.db`, `moved-${mode}.db`];
      make(pair.primary.file(name), mode, 'old', 300);
      make(pair.primary.file(moved), mode, 'new', 40);
      await assertReplicated(pair, name);
      await assertReplicated(pair, moved);
      execFileSync('mv', [pair.primary.file(moved), pair.primary.file(name)]);
      await assertReplicated(pair, name);
      assert.deepEqual(labels(pair.replica.file(name)), { new: 40 });
      await until(`${moved} is gone`, () => !fs.existsSync(pair.replica.file(moved)));
    });

    test(`a database in ${mode} mode is removed and made again`, async () => {
      const name = `again-${mode}.db`;
      for (const label of ['one', 'two', 'three']) {
        make(pair.primary.file(name), mode, label, 10);
        await assertReplicated(pair, name);
        assert.deepEqual(labels(pair.replica.file(name)), { [label]: 10 });
        fs.rmSync(pair.primary.file(name));
        if (label === 'two') continue;
        await until(
          `${name} is gone, and what stood beside it`,
          () => !fs.readdirSync(pair.replica.mount).some((file) => file.startsWith(name)),
        );
      }
    });
  }

  test('VACUUM INTO makes a database that is replicated too', async (t) => {
    make(pair.primary.file('vacuum.db'), 'wal', 'row', 200);
    const db = open(t, pair.primary.file('vacuum.db'));
    db.exec('DELETE FROM t WHERE id % 2 = 0');
    db.prepare('VACUUM INTO ?').run(pair.primary.file('vacuumed.db'));
    await assertReplicated(pair, 'vacuumed.db');
    assert.deepEqual(labels(pair.replica.file('vacuumed.db')), { row: 100 });
  });

  test('the backup API copies out of the mount and into it', async (t) => {
    make(pair.primary.file('backup.db'), 'wal', 'row', 500);
    const outside = `${pair.primary.dir}/outside.db`;
    const db = open(t, pair.primary.file('backup.db'));
    await db.backup(outside);
    assert.deepEqual(labels(outside), { row: 500 });
    const copy = open(t, outside);
    copy.exec("UPDATE t SET label = 'copied'");
    const writer = db.prepare("INSERT INTO t(label) VALUES('later')");
    await copy.backup(pair.primary.file('restored.db'), {
      progress: () => {
        writer.run();
        return 20;
      },
    });
    await assertReplicated(pair, 'restored.db');
    assert.deepEqual(labels(pair.replica.file('restored.db')), { copied: 500 });
    await assertReplicated(pair, 'backup.db');
  });

  test('a database in a directory, which is then moved', async () => {
    const dir = pair.primary.file('customers/north');
    fs.mkdirSync(dir, { recursive: true });
    for (const mode of ['wal', 'delete']) {
      make(`${dir}/${mode}.db`, mode, 'row', 20);
      await assertReplicated(pair, `customers/north/${mode}.db`);
    }
    fs.renameSync(dir, pair.primary.file('customers/south'));
    for (const mode of ['wal', 'delete']) {
      await assertReplicated(pair, `customers/south/${mode}.db`);
      await until('the old one is gone', () => {
        return !fs.existsSync(pair.replica.file(`customers/north/${mode}.db`));
      });
    }
    fs.rmSync(pair.primary.file('customers'), { recursive: true });
    await until('all are gone', () => !fs.existsSync(pair.replica.file('customers/south/wal.db')));
  });
});
