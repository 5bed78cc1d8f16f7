/**
 * A switch of the journal mode writes the header of the database, and may be the last that is written for a long time.
 *
 * On 25311ce the step from WAL to MEMORY was missed in each run, that to OFF in two of three: it is written without a
 * journal while the -wal is still there, which was taken for what explains it. The primary's file said "rollback journal", the
 * replica's "WAL", at an equal position, until something else changed page 1.
 */
import { test } from 'node:test';
import { describePair } from '../harness/replicated.ts';
import { transfer } from '../harness/states/bank.ts';
import { MODES } from '../harness/states/plan.ts';
import { debianDriver, Scene } from '../harness/states/scene.ts';

const { program, skip } = await debianDriver();
const TURNS = 2;

describePair('a switch of the journal mode', (pair) => {
  for (const from of MODES) {
    for (const to of MODES.filter((mode) => mode !== from)) {
      test(`is captured, from ${from} to ${to}`, { skip }, async (t) => {
        for (let turn = 0; turn < TURNS; turn++) {
          const name = `${from}-${to}-${turn}.db`;
          const scene = await Scene.make(t, pair, program, {
            name,
            mode: from,
            synchronous: 'normal',
          });
          const writer = await scene.connect();
          await scene.mustCommit(writer, (token) => transfer(token, 1, 3, 50));
          await writer.mustRun([`PRAGMA journal_mode=${to}`]);
          await scene.assertTrue();
        }
      });
    }
  }
});
