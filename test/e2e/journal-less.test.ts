/** Commits without a journal between others that have one, in the moment in which the engine has not looked yet. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { type Cluster, inSync, startCluster, type TestNode } from '../harness/cluster.ts';
import { databaseImage } from '../harness/image.ts';

const ROUNDS = 5;
const COMMITS = 40;
/** One in ten was missed. */
const CUT_ROUNDS = 30;
const MODES = ['delete', 'truncate', 'persist'] as const;
const LOCKING = ['normal', 'exclusive'] as const;

describe('a commit without a journal', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  before(async () => {
    ({ cluster, primary, replica } = await startCluster('auto'));
  });
  after(() => cluster?.close());

  const withTable = (name: string, use: (db: Sqlite.Database) => Promise<void>) => {
    const db = new Sqlite(primary.file(name));
    db.pragma('auto_vacuum = FULL');
    db.exec(`CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB);
      WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 50)
      INSERT INTO t SELECT i, randomblob(3000) FROM c;`);
    return use(db).finally(() => db.close());
  };
  const assertEqual = async (name: string) => {
    await inSync(primary, replica, name);
    const [ours, theirs] = [primary, replica].map((node) => databaseImage(node.backing(name)));
    assert.ok(ours.equals(theirs), `the images of ${name} differ`);
  };

  for (const locking of LOCKING) {
    it(`is not taken for part of the -wal that follows, locking_mode=${locking}`, () =>
      withTable(`wal-${locking}.db`, async (db) => {
        for (let round = 0; round < ROUNDS; round++) {
          db.pragma(`locking_mode = ${locking}`);
          db.pragma('journal_mode = delete');
          db.exec('UPDATE t SET x = randomblob(3000) WHERE id = 1');
          db.pragma('journal_mode = memory');
          db.exec('UPDATE t SET x = randomblob(3000) WHERE id = 20');
          db.pragma('journal_mode = wal');
          db.exec('UPDATE t SET x = randomblob(3000) WHERE id = 40');
          await assertEqual(`wal-${locking}.db`);
        }
      }));

    for (const mode of MODES) {
      it(`is not taken for part of the next one, journal_mode=${mode}, locking_mode=${locking}`, () =>
        withTable(`${mode}-${locking}.db`, async (db) => {
          db.pragma(`locking_mode = ${locking}`);
          const write = db.prepare('UPDATE t SET x = randomblob(3000) WHERE id = ?');
          for (let round = 0; round < ROUNDS; round++) {
            db.pragma(`journal_mode = ${mode}`);
            write.run(1);
            db.pragma('journal_mode = memory');
            write.run(20);
            db.pragma(`journal_mode = ${mode}`);
            write.run(40);
            await assertEqual(`${mode}-${locking}.db`);
          }
        }));

      it(`is seen in no series that has one each, journal_mode=${mode}, locking_mode=${locking}`, () =>
        withTable(`series-${mode}-${locking}.db`, async (db) => {
          db.pragma(`locking_mode = ${locking}`);
          db.pragma(`journal_mode = ${mode}`);
          const insert = db.prepare('INSERT INTO t(x) VALUES(randomblob(9000))');
          const remove = db.prepare('DELETE FROM t WHERE id % 7 = ?');
          for (let turn = 0; turn < COMMITS; turn++) {
            if (turn % 4 === 3) remove.run(turn % 7);
            else insert.run();
          }
          await assertEqual(`series-${mode}-${locking}.db`);
          const compared = new RegExp(`compared every page of series-${mode}-${locking}`);
          assert.doesNotMatch(primary.logText(), compared);
        }));
    }
  }

  it('is not taken for the cut of the file that follows a commit', () =>
    withTable('cut.db', async (db) => {
      db.pragma('locking_mode = exclusive');
      db.pragma('synchronous = off');
      for (let round = 0; round < CUT_ROUNDS; round++) {
        db.pragma('journal_mode = persist');
        db.exec('INSERT INTO t SELECT 1000 + id, randomblob(3000) FROM t WHERE id < 20');
        db.exec('DELETE FROM t WHERE id > 1000');
        db.pragma('journal_mode = memory');
        db.exec('UPDATE t SET x = randomblob(3000) WHERE id = 20');
        db.pragma('journal_mode = persist');
        db.exec('UPDATE t SET x = randomblob(3000) WHERE id = 40');
        await assertEqual('cut.db');
      }
    }));

  it('is seen in no checkpoint when the last connection closes', () =>
    withTable('closed.db', async (db) => {
      db.pragma('journal_mode = wal');
      db.close();
      for (let turn = 0; turn < COMMITS; turn++) {
        const app = new Sqlite(primary.file('closed.db'));
        app.exec('INSERT INTO t(x) VALUES(randomblob(9000)); DELETE FROM t WHERE id % 7 = 3');
        app.close();
      }
      await assertEqual('closed.db');
      assert.doesNotMatch(primary.logText(), /compared every page of closed/);
    }));
});
