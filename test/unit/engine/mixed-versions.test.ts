/** SQLites of several ages share a database: what one leaves in the wal-index another may know nothing of. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { parseWalIndexHeader } from '../../../src/sqlite/wal-index.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { SqlDriver } from '../../harness/sql-driver.ts';
import { buildSqlites, type SqliteName } from '../../harness/sqlite-builds.ts';
import { withFolder } from '../os/folder.ts';

const { programs, missing } = await buildSqlites(['newest', 'oldest']);
const skip = missing.length > 0 && `not built: ${missing}`;
const program = (name: SqliteName) => programs.get(name) as string;

/**
 * On e2db780 every comparison from then on said that the database is written all the time, and its commits stayed uncaptured:
 * what the newer one had begun to checkpoint was taken for frames of the next generation.
 */
test('an old SQLite starts over a -wal that a newer one has checkpointed', { skip }, () =>
  withFolder(async (folder) => {
    const node = new EngineStand(folder);
    await node.start();
    const file = node.file('mixed.db');
    const [newer, older] = [new SqlDriver(program('newest')), new SqlDriver(program('oldest'))];
    try {
      await newer.open(file);
      await newer.mustRun(['PRAGMA journal_mode=wal', 'CREATE TABLE t(x)']);
      await newer.mustRun(['INSERT INTO t VALUES(zeroblob(100000))']);
      await older.open(file);
      await node.call('flush', {});
      await newer.mustRun(['PRAGMA wal_checkpoint(passive)']);
      await older.mustRun(['INSERT INTO t VALUES(2)']);
      const { header, checkpoint } = parseWalIndexHeader(fs.readFileSync(`${file}-shm`));
      assert(checkpoint.backfillAttempted > header.mxFrame, 'it was left as it was');

      const db = node.database('mixed.db');
      const before = db.position.txid;
      db.suspicion = 'a test';
      await node.call('flush', {});
      assert.equal(db.suspicion, undefined);
      assert.equal(db.position.txid, before + 1);
    } finally {
      await newer.end();
      await older.end();
    }
    await node.stop();
  }),
);
