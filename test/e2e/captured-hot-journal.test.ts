/**
 * A writer that spills in a mode with a rollback journal is killed: what it has written into the database is no commit, and
 * the journal beside it, a hot one, takes it back when the next connection reads.
 *
 * On 25311ce a comparison of every page, due since a commit without a journal came before, did not look for one: the
 * half-written pages became a transaction on the replicas, and readers there saw them until somebody read on the primary.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inSync } from '../harness/cluster.ts';
import { whileEngineStands } from '../harness/paused-thread.ts';
import { describePair } from '../harness/replicated.ts';
import { halfTransfer, rewritten, transfer } from '../harness/states/bank.ts';
import { debianDriver, Scene } from '../harness/states/scene.ts';

const { program, skip } = await debianDriver();

describePair('a hot journal', (pair) => {
  for (const mode of ['delete', 'truncate', 'persist']) {
    test(`keeps what it takes back from being captured, journal_mode=${mode}`, {
      skip,
    }, async (t) => {
      const name = `hot-${mode}.db`;
      const scene = await Scene.make(t, pair, program, { name, mode, synchronous: 'normal' });
      const writer = await scene.connect();
      const move = (token: number) => transfer(token, 3, 3, 50);
      await scene.mustCommit(writer, move);
      await scene.look();
      // The end of a journal that stays would be held back.
      await writer.mustRun(['PRAGMA journal_mode=memory']);
      await whileEngineStands(pair.primary, async () => {
        await scene.mustCommit(writer, move);
        await writer.mustRun([`PRAGMA journal_mode=${mode}`]);
        await scene.begin(writer, (token) => [rewritten(token, 100), halfTransfer(token)]);
        assert.equal(await writer.kill(), 'SIGKILL');
      });
      // What a replica has by then is what its readers see.
      await scene.look();
      await inSync(pair.primary, pair.replica, name);
      await scene.assertTrue();
    });
  }
});
