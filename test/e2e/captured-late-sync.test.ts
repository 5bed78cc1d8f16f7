/**
 * A -wal that is started over by SQLite 3.7.8: with synchronous=FULL it writes the header and all frames of a commit, and only
 * then syncs. So the end of the old generation, which the engine has not read yet, is written over before anything is held
 * back. A newer SQLite syncs the header by itself first. On 25311ce it held.
 */
import { test } from 'node:test';
import { whileEngineStands } from '../harness/paused-thread.ts';
import { describePair } from '../harness/replicated.ts';
import { buildSqlites } from '../harness/sqlite-builds.ts';
import { ballast, rewritten, transfer } from '../harness/states/bank.ts';
import { Scene } from '../harness/states/scene.ts';

const { programs, missing } = await buildSqlites(['oldest']);
const program = programs.get('oldest') ?? '';
const skip = program === '' && `no driver: ${missing}`;
const CHECKPOINT = 'PRAGMA wal_checkpoint(PASSIVE)';
const TURNS = 3;

describePair('a -wal whose header is synced behind its frames', (pair) => {
  test('is captured, synchronous=full', { skip }, async (t) => {
    const name = 'late-sync.db';
    const scene = await Scene.make(t, pair, program, { name, mode: 'wal', synchronous: 'full' });
    const writer = await scene.connect();
    await writer.mustRun(['PRAGMA cache_size=1000']);
    for (let turn = 0; turn < TURNS; turn++) {
      await writer.mustRun([CHECKPOINT]);
      await scene.mustCommit(writer, (token) => transfer(token, 1, 1, 50));
      await scene.look();
      const written = await whileEngineStands(pair.primary, async () => {
        await scene.mustCommit(writer, (token) => [ballast(token, 1000 * turn, 5, 20)]);
        await writer.mustRun([CHECKPOINT]);
        // More frames than were captured of the old generation.
        const { statements, ended } = scene.transaction((token) => [rewritten(token, 100)]);
        const { done } = await scene.beginHeld(writer, statements);
        return { done: done.then(ended) };
      });
      await written.done;
    }
    await scene.assertTrue();
  });
});
