/**
 * A -wal that was started over by one connection, and begun again by another. A starts it over, spills, and rolls back: its
 * header and frames are there, and nothing is committed. B then writes the header again: with the same salts, as the
 * wal-index has them, and its own sequence number, and so with another seed for the checksums of the frames.
 *
 * On 25311ce a generation was known by its salts. The engine that had looked between the two found no valid frame behind
 * its cursor, took the -wal for captured at the TRUNCATE that followed, and never had the transaction of B: the replica
 * differed for good, at an equal position.
 */
import { test } from 'node:test';
import { whileEngineStands } from '../harness/paused-thread.ts';
import { describePair } from '../harness/replicated.ts';
import { ballast, rewritten, transfer } from '../harness/states/bank.ts';
import { debianDriver, Scene } from '../harness/states/scene.ts';

const CHECKPOINT = 'PRAGMA wal_checkpoint(PASSIVE)';
const TRUNCATE = 'PRAGMA wal_checkpoint(TRUNCATE)';
/** One in ten may go by unnoticed: the engine has looked in between. */
const TURNS = 5;
const { program, skip } = await debianDriver();

describePair('a -wal whose header is written twice with the same salts', (pair) => {
  for (const synchronous of ['off', 'normal', 'full']) {
    test(`is captured, synchronous=${synchronous}`, { skip }, async (t) => {
      const name = `twice-${synchronous}.db`;
      const scene = await Scene.make(t, pair, program, { name, mode: 'wal', synchronous });
      const [a, b] = [await scene.connect(), await scene.connect()];
      const move = (from: number) => (token: number) => transfer(token, from, 3, 50);
      await scene.mustCommit(a, move(1));
      // Each counts by itself how often it has started the -wal over: once, and three times.
      for (const driver of [b, a, a]) {
        await driver.mustRun([CHECKPOINT]);
        await scene.mustCommit(driver, move(7));
        await scene.look();
      }
      for (let turn = 0; turn < TURNS; turn++) {
        await a.mustRun([CHECKPOINT]);
        await scene.begin(a, (token) => [rewritten(token, 100)]);
        await scene.look();
        await a.mustRun(['ROLLBACK']);
        await scene.look();
        const next = scene.transaction((token) => [ballast(token, 1, 5, 20), ...move(20)(token)]);
        const held = await whileEngineStands(pair.primary, async () => {
          const commit = await scene.beginHeld(b, next.statements);
          // With the sync of the header held, all that follows waits for the engine.
          if (synchronous !== 'off') return commit;
          next.ended(await commit.done);
          return scene.beginHeld(b, [TRUNCATE]);
        });
        const result = await held.done;
        if (synchronous !== 'off') {
          next.ended(result);
          await b.mustRun([TRUNCATE]);
        }
        await scene.mustCommit(b, move(90));
      }
      await scene.assertTrue();
    });
  }
});
