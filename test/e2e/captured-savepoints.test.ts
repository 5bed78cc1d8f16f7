/**
 * A savepoint whose pages were spilled into the -wal, some of them twice, is rolled back, and the transaction goes on. SQLite
 * before 3.51 then leaves frames without salts and checksums in what it commits. Its readers do not care: they go by the wal-index.
 *
 * On 25311ce the engine stopped at the first of these frames, took the view before it for the present one, and found
 * nothing at the TRUNCATE that followed: the replica differed for good, at an equal position, state ok, and `verify` said
 * "the same as on the primary".
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inSync, until } from '../harness/cluster.ts';
import { whileEngineStands } from '../harness/paused-thread.ts';
import { describePair } from '../harness/replicated.ts';
import { SqlDriver } from '../harness/sql-driver.ts';
import { shellOutput } from '../harness/sqlite-shell.ts';
import { ACCOUNTS, ballast, rewritten, transfer } from '../harness/states/bank.ts';
import { debianDriver, Scene } from '../harness/states/scene.ts';
import { difference, imageOf } from '../harness/states/verdict.ts';

const { program, skip } = await debianDriver();
const ROWS = 3000;
const counted = (from: number) =>
  `WITH RECURSIVE c(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM c WHERE i < ${from + ROWS})`;

/** Some pages are written to the -wal twice, but not the first of the savepoint. */
const savepoint = (token: number) => [
  'SAVEPOINT s',
  ballast(token, 1000, ACCOUNTS, 300),
  `${rewritten(token, 100)} WHERE id < 64`,
  `${rewritten(token, 101)} WHERE id < 64`,
  'ROLLBACK TO s',
  'RELEASE s',
  // The rest is written at the commit, each page once.
  'PRAGMA cache_size=1000',
  rewritten(token, 100),
];

describePair('a savepoint that was rolled back after a spill', (pair) => {
  describe("in Debian's sqlite3", () => {
    for (const cacheSize of [20, 60]) {
      for (const turn of [1, 2]) {
        test(`is captured, cache_size=${cacheSize}, ${turn}`, async () => {
          const name = `savepoint-${cacheSize}-${turn}.db`;
          const { primary, replica } = pair;
          await shellOutput(
            primary.file(name),
            `PRAGMA journal_mode=wal;
             CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, data TEXT);
             ${counted(1)} INSERT INTO t SELECT i, 0, hex(zeroblob(40)) FROM c;`,
          );
          await inSync(primary, replica, name);
          await shellOutput(
            primary.file(name),
            `PRAGMA synchronous=normal; PRAGMA cache_size=${cacheSize};
             BEGIN; SAVEPOINT s;
             ${counted(10_000)} INSERT INTO t SELECT i * 7919 % 100003 + 10000, 1, hex(zeroblob(100)) FROM c;
             ROLLBACK TO s; RELEASE s;
             UPDATE t SET v=100 WHERE id<1500; COMMIT; PRAGMA wal_checkpoint(TRUNCATE);`,
          );
          await inSync(primary, replica, name);
          const [ours, theirs] = [primary, replica].map((node) =>
            imageOf(node.file(name), { readonly: true }),
          );
          assert.equal(difference(ours, theirs), undefined);
        });
      }
    }
  });

  for (const synchronous of ['off', 'normal', 'full']) {
    for (const last of [
      'nothing',
      'PRAGMA wal_checkpoint(TRUNCATE)',
      'PRAGMA journal_mode=delete',
    ]) {
      test(`is captured, synchronous=${synchronous}, then ${last}`, {
        skip,
      }, async (t) => {
        const name = `savepoint-${synchronous}-${last.length}.db`;
        const scene = await Scene.make(t, pair, program, { name, mode: 'wal', synchronous });
        const writer = await scene.connect();
        for (let turn = 0; turn < 3; turn++) {
          await scene.mustCommit(writer, (token) => transfer(token, turn, 3, 50));
          await writer.mustRun(['PRAGMA cache_size=10']);
          await scene.mustCommit(writer, savepoint);
          if (last !== 'nothing') await writer.mustRun([last, 'PRAGMA journal_mode=wal']);
        }
        await scene.assertTrue();
      });
    }
  }

  /** The index is in the memory of the application: which of the frames without checksums count is known to it alone. */
  test('is waited for and told of under locking_mode=exclusive, until a checkpoint tells', {
    skip,
  }, async (t) => {
    const name = 'savepoint-alone.db';
    const scene = await Scene.make(t, pair, program, { name, mode: 'wal', synchronous: 'normal' });
    const writer = new SqlDriver(program);
    t.after(() => writer.kill());
    await writer.open(scene.file);
    await writer.mustRun(['PRAGMA locking_mode=exclusive', 'PRAGMA wal_autocheckpoint=0']);
    const commitSavepoint = async () => {
      await writer.mustRun(['PRAGMA cache_size=10']);
      await scene.mustCommit(writer, savepoint);
    };
    const told = async () => {
      const { databases } = await pair.primary.info();
      return /no checksums/.test(databases.find((db) => db.name === name)?.reason ?? '');
    };
    for (let turn = 0; turn < 2; turn++) {
      await commitSavepoint();
      await until('status tells of it', told);
      await writer.mustRun(['PRAGMA wal_checkpoint(TRUNCATE)']);
      await until('it is over', async () => !(await told()));
    }
    await commitSavepoint();
    await writer.end();
    await scene.assertTrue();
  });

  /** Of the next transaction: how many frames, and of what kind. */
  const followers: Record<string, (token: number) => readonly string[]> = {
    'fewer frames': (token) => transfer(token, 9, 3, 50),
    'as many frames': (token) => [rewritten(token, 100), ballast(token, 1, 1, 1)],
    // The wal-index then says the same of both, down to the checksum of the last frame.
    'as many frames of the same kind': savepoint,
  };
  for (const [what, next] of Object.entries(followers)) {
    const isSameKind = next === savepoint;
    const options = { skip };
    test(`is taken back when recovery does not find it, and ${what} follow`, options, async (t) => {
      const name = `lost-${what.length}.db`;
      const scene = await Scene.make(t, pair, program, {
        name,
        mode: 'wal',
        synchronous: 'normal',
      });
      const first = await scene.connect();
      await scene.mustCommit(first, (token) => transfer(token, 1, 3, 50));
      await scene.look();
      await scene.mustCommit(first, savepoint);
      await scene.look();
      await inSync(pair.primary, pair.replica, name);
      const lastFrame = scene.lastFrame();
      await whileEngineStands(pair.primary, async () => {
        // It was alone, so the wal-index goes with it, and the next connection goes by the checksums.
        await first.kill();
        const second = await scene.connect();
        await scene.recovered(second);
        assert.equal(scene.ledger.lost.size, 1, 'SQLite has lost it');
        if (!isSameKind) await second.mustRun(['PRAGMA cache_size=1000']);
        await scene.mustCommit(second, next);
        assert.equal(scene.lastFrame() === lastFrame, what !== 'fewer frames');
      });
      await scene.assertTrue();
    });
  }
});
