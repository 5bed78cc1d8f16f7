/**
 * A -wal that is started over with every commit, as quickly as a writer can: each generation is captured before the next one
 * writes over it, also those that begin and end between two looks of the engine.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { sqlite3 } from '../harness/app.ts';
import { assertReplicated, describePair, type Pair } from '../harness/replicated.ts';

const COMMITS = 300;

/** A writer whose every commit is checkpointed, and so begins the -wal anew. */
async function write(pair: Pair, name: string, synchronous: string, checkpoint: number) {
  const db = new Sqlite(pair.primary.file(name), { timeout: 0 });
  try {
    db.pragma('journal_mode = wal');
    db.pragma(`synchronous = ${synchronous}`);
    db.pragma(`wal_autocheckpoint = ${checkpoint}`);
    db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, data)');
    const insert = db.prepare('INSERT INTO t(data) VALUES(randomblob(?))');
    for (let i = 0; i < COMMITS; i++) insert.run((i * 997) % 9000);
    await assertReplicated(pair, name);
  } finally {
    db.close();
  }
  await assertReplicated(pair, name);
}

describePair('a -wal that is started over all the time', (pair) => {
  for (const synchronous of ['FULL', 'NORMAL', 'OFF']) {
    for (const checkpoint of [1, 7]) {
      test(`synchronous ${synchronous}, a checkpoint each ${checkpoint} pages`, () =>
        write(pair, `${synchronous}-${checkpoint}.db`, synchronous, checkpoint));
    }
  }

  for (const synchronous of ['NORMAL', 'OFF']) {
    test(`connections that live for one commit, synchronous ${synchronous}`, async () => {
      const name = `short-${synchronous}.db`;
      const file = pair.primary.file(name);
      sqlite3(file, 'PRAGMA journal_mode = wal; CREATE TABLE t(data)');
      for (let i = 0; i < 40; i++) {
        sqlite3(
          file,
          `PRAGMA synchronous = ${synchronous}; INSERT INTO t VALUES(randomblob(${i * 300}))`,
        );
      }
      await assertReplicated(pair, name);
      assert.equal(sqlite3(pair.replica.file(name), 'SELECT count(*) FROM t'), '40');
    });
  }
});
