/**
 * Loads like those of SQLite's own test programs (speedtest1, kvtest, mptest), by several `sqlite3` processes at once.
 * With the programs themselves: scripts/sqlite-programs.ts.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { assertReplicated, describePair } from '../harness/replicated.ts';
import { runShell, shellOutput } from '../harness/sqlite-shell.ts';

const WRITERS = 4;
const ROUNDS = 15;

/** One writer of several: a table of its own that grows, shrinks and is indexed, and one that all share. */
function mixedLoad(writer: number): string {
  const own = `own${writer}`;
  const rounds = Array.from({ length: ROUNDS }, (_, round) => {
    const from = round * 20;
    return `
      BEGIN IMMEDIATE;
      UPDATE shared SET n = n + 1, log = log || '${writer}' WHERE id = 1;
      INSERT INTO ${own} SELECT value, randomblob(abs(random()) % 3000)
        FROM generate_series(${from}, ${from + 19});
      SAVEPOINT s;
      DELETE FROM ${own};
      ROLLBACK TO s;
      COMMIT;
      UPDATE ${own} SET data = zeroblob(100) WHERE id % 7 = ${round % 7};
      DELETE FROM ${own} WHERE id % 5 = ${round % 5} AND id < ${from};
      ${round === 10 ? `CREATE INDEX by_${own} ON ${own}(data);` : ''}
      BEGIN; INSERT INTO ${own} VALUES(-1, randomblob(20000)); ROLLBACK;
      SELECT count(*), sum(length(data)) FROM ${own};`;
  });
  return `CREATE TABLE ${own}(id INTEGER PRIMARY KEY, data BLOB);\n${rounds.join('\n')}`;
}

describePair('loads of sqlite3', (pair) => {
  for (const mode of ['wal', 'delete', 'persist']) {
    test(`several writers with every kind of statement, journal mode ${mode}`, async () => {
      const name = `mixed-${mode}.db`;
      const file = pair.primary.file(name);
      await shellOutput(
        file,
        `PRAGMA journal_mode=${mode};
         CREATE TABLE shared(id INTEGER PRIMARY KEY, n INT, log TEXT); INSERT INTO shared VALUES(1, 0, '');`,
      );
      const writers = Array.from({ length: WRITERS }, (_, i) => shellOutput(file, mixedLoad(i)));
      await Promise.all(writers);
      const counted = await shellOutput(file, 'SELECT n, length(log) FROM shared;');
      assert.equal(counted, `${WRITERS * ROUNDS}|${WRITERS * ROUNDS}`, 'no update was lost');
      await assertReplicated(pair, name);
    });

    test(`a writer that dies in its transaction, journal mode ${mode}`, async () => {
      const name = `crash-${mode}.db`;
      const file = pair.primary.file(name);
      await shellOutput(
        file,
        `PRAGMA journal_mode=${mode};
         CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB);
         INSERT INTO t SELECT value, randomblob(1000) FROM generate_series(1, 500);`,
      );
      for (let round = 1; round <= 3; round++) {
        // A small cache is written out before the commit that never comes.
        const dead = await runShell(
          file,
          `PRAGMA cache_size=5; BEGIN;
           UPDATE t SET data = zeroblob(1500);
           INSERT INTO t SELECT value, zeroblob(1000) FROM generate_series(1000, 2000);
           .shell kill -9 $PPID
           COMMIT;`,
        );
        assert.equal(dead.signal, 'SIGKILL', dead.stderr);
        const left = await shellOutput(
          file,
          `INSERT INTO t VALUES(${500 + round}, 'after');
           SELECT count(*), sum(data = zeroblob(1500)) FROM t;`,
        );
        assert.equal(left, `${500 + round}|0`, 'nothing of it is left');
        await assertReplicated(pair, name);
      }
    });
  }

  test('transactions of megabytes, each in a -wal that was started over', async () => {
    const file = pair.primary.file('big.db');
    const update = 'UPDATE t SET data = randomblob(4000);';
    await shellOutput(
      file,
      `PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=100;
       CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB);
       INSERT INTO t SELECT value, randomblob(4000) FROM generate_series(1, 600);
       ${update.repeat(20)}`,
    );
    await assertReplicated(pair, 'big.db');
  });

  test('a -wal that is started over while it is read: several writers, synchronous=off', async () => {
    for (let round = 0; round < 3; round++) {
      const name = `restarted-${round}.db`;
      const file = pair.primary.file(name);
      const settings = 'PRAGMA synchronous=off; PRAGMA wal_autocheckpoint=500;';
      await shellOutput(
        file,
        `PRAGMA journal_mode=wal; ${settings}
         CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB);
         INSERT INTO t SELECT value, zeroblob(3900) FROM generate_series(1, 2000);`,
      );
      const updates = (writer: number) =>
        Array.from({ length: 40 }, (_, i) => {
          const rows = (i * 13 + writer * 29) % 97;
          return `UPDATE t SET data = randomblob(3000) WHERE id % 97 = ${rows};\n`;
        });
      await Promise.all(
        Array.from({ length: WRITERS }, (_, i) =>
          shellOutput(file, settings + updates(i).join('')),
        ),
      );
      await assertReplicated(pair, name);
    }
  });

  test('whole databases by script: full-text index, import, dump, restore', async () => {
    const { primary } = pair;
    const source = primary.file('library.db');
    const csv = path.join(primary.dir, 'rows.csv');
    fs.writeFileSync(
      csv,
      `id,text\n${Array.from({ length: 3000 }, (_, i) => `${i},x\n`).join('')}`,
    );
    await shellOutput(
      source,
      `CREATE VIRTUAL TABLE pages USING fts5(title, body);
       INSERT INTO pages SELECT 'page ' || value, 'word' || value || ' and words'
         FROM generate_series(1, 2000);
       INSERT INTO pages(pages) VALUES('optimize');
       .import --csv ${csv} rows
       ALTER TABLE rows ADD COLUMN more DEFAULT 7;
       PRAGMA auto_vacuum=full;
       VACUUM;`,
    );
    await assertReplicated(pair, 'library.db');

    const dump = await shellOutput(source, '.dump');
    await shellOutput(primary.file('dumped.db'), `${dump}\n`);
    await assertReplicated(pair, 'dumped.db');

    // Over one that is there, in another journal mode and with other pages.
    const restored = primary.file('restored.db');
    await shellOutput(restored, 'PRAGMA page_size=1024; CREATE TABLE old(x);');
    await shellOutput(restored, `.restore ${source}`);
    const found = await shellOutput(
      restored,
      `SELECT title FROM pages('word1234'); SELECT count(*), sum(more) FROM rows;`,
    );
    assert.equal(found, 'page 1234\n3000|21000');
    await assertReplicated(pair, 'restored.db');
  });
});
