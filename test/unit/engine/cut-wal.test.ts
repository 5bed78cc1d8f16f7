/**
 * A -wal of a replica is never empty, not for a moment: SQLite takes an empty one for none, and who opens the database then
 * reads it by the rules that page 1 asks for.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { assertSame, withTwo } from './two-nodes.ts';

/** More than what a -wal may keep when it is started over (16 MiB). */
const HUGE = 'INSERT INTO t(data) VALUES(randomblob(20000000));';
/** More than what it may hold before it is checkpointed (4 MiB). */
const LARGE = 'INSERT INTO t(data) VALUES(randomblob(5000000));';
const BULK = `INSERT INTO t(data) SELECT zeroblob(1000) FROM
  (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 300) SELECT i FROM c);`;
const STATE = "SELECT count(*) || '|' || sum(length(data)) FROM t;";

/** On e8b0209 it was cut to nothing: within one transaction the reader saw 20,300,001 bytes, then 20,270,001. */
test('a reader that comes while a -wal is cut keeps its snapshot', { timeout: 60_000 }, (t) =>
  withTwo('delete', (two) => {
    const { primary, replica, commit } = two;
    const apply = (sql: string) => {
      for (const { error } of replica.apply(...commit(sql))) assert.ifError(error);
    };
    replica.apply(...primary.entries);
    apply(BULK);
    const { files } = replica.db;
    const truncate = files.truncate.bind(files);
    const readers: { db: Sqlite.Database; before: unknown }[] = [];
    t.mock.method(files, 'truncate', (...args: Parameters<typeof truncate>) => {
      truncate(...args);
      if (args[0] !== 'wal') return;
      const db = new Sqlite(replica.file, { readonly: true });
      db.pragma('cache_size=2');
      db.exec('BEGIN');
      readers.push({ db, before: db.prepare(STATE).pluck().get() });
    });
    try {
      apply(HUGE);
      assert.equal(readers.length, 1);
      for (const length of [900, 800]) {
        apply(`UPDATE t SET data = zeroblob(${length}) WHERE id BETWEEN 2 AND 301; ${LARGE}`);
        for (const { db, before } of readers) assert.equal(db.prepare(STATE).pluck().get(), before);
      }
    } finally {
      for (const { db } of readers) db.close();
    }
    assertSame(two);
  }),
);

/** On e8b0209 what was to be cut first was gone when the header could not be written: an assertion stopped the engine. */
test('a disk that is full when a -wal is started over is survived', { timeout: 60_000 }, (t) =>
  withTwo('wal', (two) => {
    const { primary, replica, commit } = two;
    replica.apply(...primary.entries);
    const { files } = replica.db;
    const write = files.write.bind(files);
    let refused = 0;
    t.mock.method(files, 'write', (...args: Parameters<typeof write>) => {
      if (args[0] === 'wal' && args[2] === 0 && refused++ === 0)
        throw Object.assign(new Error('no space'), { errno: -28, code: 'ENOSPC' });
      write(...args);
    });
    // On e8b0209 it was told a second time, as one that had failed.
    const told = replica.apply(...commit(HUGE)).map(({ error }) => error);
    assert.deepEqual(told, [undefined]);
    for (let i = 0; i < 2; i++) {
      for (const { error } of replica.apply(...commit('INSERT INTO t(data) VALUES(3);')))
        assert.ifError(error);
    }
    assert(refused > 1);
    assertSame(two);
  }),
);
