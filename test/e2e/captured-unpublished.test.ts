/**
 * A writer is killed when its commit frame is in the -wal, and before the wal-index says so. As long as another connection
 * has the database open, that is no commit: the next writer writes over it, and the last close leaves it out of what it
 * copies into the database.
 *
 * On 25311ce, at the removal of the -wal by the last close, the wal-index was gone already, and the engine took the last
 * valid commit frame for the end: the replica got a transaction that the primary never had, and kept it.
 *
 * The second: the engine had followed a generation whose header was written again (captured-restarts.test.ts), and compared
 * every page at an fsync of the -wal. That read all valid frames, also those that no index told of, and the cursor stood
 * behind them. The next commit, of as many frames, was where the cursor was already, which was taken for captured.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whileEngineStands } from '../harness/paused-thread.ts';
import { describePair } from '../harness/replicated.ts';
import { rewritten, transfer } from '../harness/states/bank.ts';
import { debianDriver, Scene } from '../harness/states/scene.ts';

const { program, skip } = await debianDriver();
const TURNS = 3;
const CHECKPOINT = 'PRAGMA wal_checkpoint(PASSIVE)';
/** With synchronous=FULL: all frames are written, and the index is not. */
const BEFORE_PUBLISHING = { when: 'before', call: 'sync', count: 1, file: '-wal' } as const;

describePair('a commit that was written, and not published', (pair) => {
  test('is not captured when the last connection closes', { skip }, async (t) => {
    const scene = await Scene.make(t, pair, program, {
      name: 'closed.db',
      mode: 'wal',
      synchronous: 'full',
    });
    const [writer, other] = [await scene.connect(), await scene.connect()];
    await scene.mustCommit(writer, (token) => transfer(token, 1, 3, 50));
    await other.mustRun(['SELECT n FROM meta']);
    await scene.look();
    await writer.die(BEFORE_PUBLISHING);
    const killed = await scene.commit(writer, (token) => transfer(token, 9, 3, 50));
    assert.equal(killed.ok, undefined);
    await other.end();
    await scene.assertTrue();
  });

  test('is not taken for the next one, of as many frames', { skip }, async (t) => {
    const name = 'as-many.db';
    const scene = await Scene.make(t, pair, program, { name, mode: 'wal', synchronous: 'off' });
    const [a, b, reader] = [await scene.connect(), await scene.connect(), await scene.connect()];
    const move = (from: number) => (token: number) => transfer(token, from, 3, 50);
    await scene.mustCommit(a, move(1));
    // Each counts by itself how often it has started the -wal over.
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
      const next = scene.transaction(move(40));
      const checkpoint = await whileEngineStands(pair.primary, async () => {
        await scene.mustCommit(b, move(20));
        // Else the next commit would start the -wal over.
        await reader.mustRun(['BEGIN', 'SELECT n FROM meta']);
        const dying = await scene.connect();
        await dying.mustRun(['PRAGMA synchronous=full']);
        await dying.die(BEFORE_PUBLISHING);
        const killed = await scene.commit(dying, move(40));
        assert.equal(killed.ok, undefined);
        // Under NORMAL a checkpoint syncs the -wal first, which is held.
        return scene.beginHeld(b, [
          'PRAGMA synchronous=normal',
          CHECKPOINT,
          ...next.statements,
          'PRAGMA synchronous=off',
        ]);
      });
      next.ended(await checkpoint.done);
      await reader.mustRun(['COMMIT']);
    }
    await scene.assertTrue();
  });
});
