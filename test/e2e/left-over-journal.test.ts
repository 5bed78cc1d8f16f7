/**
 * A journal that ends while a -wal has what is committed is not the newest commit. SQLite does that when it leaves WAL mode: it
 * removes the -wal, lets go of EXCLUSIVE, and another connection makes a -wal before its journal ends (seed 155025020 of the
 * state check). On 0bc51d1 the file alone was taken for what was committed: a state of the log, and the replica's readers, went
 * back by what the -wal had.
 */
import fs from 'node:fs';
import { test } from 'node:test';
import { describePair } from '../harness/replicated.ts';
import { transfer } from '../harness/states/bank.ts';
import { debianDriver, Scene } from '../harness/states/scene.ts';

const { program, skip } = await debianDriver();

describePair('a journal beside a -wal', (pair) => {
  for (const how of ['removed', 'emptied'] as const) {
    test(`is ${how}: nothing goes back`, { skip }, async (t) => {
      const name = `${how}.db`;
      const scene = await Scene.make(t, pair, program, {
        name,
        mode: 'wal',
        synchronous: 'normal',
      });
      const writer = await scene.connect();
      for (let i = 0; i < 5; i++) {
        await scene.mustCommit(writer, (token) => transfer(token, i, 3, 50));
      }
      await scene.look();
      const journal = `${pair.primary.file(name)}-journal`;
      fs.writeFileSync(journal, Buffer.alloc(512));
      if (how === 'removed') fs.rmSync(journal);
      else fs.truncateSync(journal);
      await scene.mustCommit(writer, (token) => transfer(token, 1, 3, 50));
      await scene.assertTrue();
    });
  }
});
