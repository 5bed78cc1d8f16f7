/**
 * The end of a -wal is overwritten before the engine has read it: under synchronous=OFF nothing holds a writer back that
 * starts the -wal over. A writer that spills writes frames without salts and checksums once it has written a page twice.
 *
 * On 25311ce the engine took a frame for one of the old generation unless it had the salts of the new one. One without
 * salts was taken for the intact, empty end of the old generation, and the transaction that it had overwritten was
 * forgotten: states without it were in the log, and its pages were missing on the replica for good.
 */
import { test } from 'node:test';
import { whileEngineStands } from '../harness/paused-thread.ts';
import { describePair } from '../harness/replicated.ts';
import { ACCOUNTS, ballast, rewritten } from '../harness/states/bank.ts';
import { debianDriver, Scene } from '../harness/states/scene.ts';

const TURNS = 3;
const { program, skip } = await debianDriver();
/** More pages than the cache holds. */
const SOME = 'WHERE id < 64';

describePair('the end of a -wal that is overwritten at synchronous=OFF', (pair) => {
  test('is not forgotten when frames without salts are in its place', {
    skip,
  }, async (t) => {
    const name = 'overwritten.db';
    const scene = await Scene.make(t, pair, program, { name, mode: 'wal', synchronous: 'off' });
    const writer = await scene.connect();
    for (let turn = 0; turn < TURNS; turn++) {
      await scene.mustCommit(writer, (token) => [rewritten(token, 100)]);
      await scene.look();
      await whileEngineStands(pair.primary, async () => {
        await scene.mustCommit(writer, (token) => [ballast(token, 1, 60, 60)]);
        await writer.mustRun(['PRAGMA wal_checkpoint(PASSIVE)']);
        // Some pages twice, so that what follows has no salts.
        await scene.begin(writer, (token) => [
          `${rewritten(token, 100)} ${SOME}`,
          `${rewritten(token, 101)} ${SOME}`,
          ballast(token, 1000, ACCOUNTS, 500),
        ]);
      });
      await scene.look();
      await writer.mustRun(['ROLLBACK']);
      await scene.mustCommit(writer, (token) => [rewritten(token, 100)]);
    }
    await scene.assertTrue();
  });
});
