/**
 * A writer is killed, and the next one comes before the engine has looked: it is alone, and makes the wal-index again from the
 * -wal. SQLite 3.7.8 takes all read locks for that; a newer one does without those that others have.
 *
 * The engine has a read mark in the index of a -wal whose header nobody has synced, which 3.7.8 does at FULL only. 25311ce
 * had no such mark, and this held there.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { until } from '../harness/cluster.ts';
import { whileEngineStands } from '../harness/paused-thread.ts';
import { describePair } from '../harness/replicated.ts';
import { SqlDriver } from '../harness/sql-driver.ts';
import { buildSqlites } from '../harness/sqlite-builds.ts';
import { transfer } from '../harness/states/bank.ts';
import { Scene } from '../harness/states/scene.ts';

const { programs, missing } = await buildSqlites(['oldest']);
const program = programs.get('oldest') ?? '';
const skip = program === '' && `no driver: ${missing}`;
const COUNT = 'SELECT count(*) FROM sqlite_master';
/** nanosleep, clock_nanosleep. */
const SLEEPS = process.arch === 'arm64' ? ['101', '115'] : ['35', '230'];

describePair('an application that comes after one that was killed', (pair) => {
  for (const synchronous of ['off', 'normal', 'full']) {
    test(`meets no lock, synchronous=${synchronous}`, { skip }, async (t) => {
      const name = `killed-${synchronous}.db`;
      const scene = await Scene.make(t, pair, program, { name, mode: 'wal', synchronous });
      const writer = await scene.connect();
      await scene.mustCommit(writer, (token) => transfer(token, 1, 3, 50));
      await scene.look();
      const next = new SqlDriver(program);
      t.after(() => next.kill());
      const { opened } = await whileEngineStands(pair.primary, async () => {
        await writer.kill();
        await next.open(scene.file);
        let isDone = false;
        const opened = next.run([COUNT]).finally(() => {
          isDone = true;
        });
        // It waits for the lock, or does not have to.
        await until('the next one is at it', () => isDone || isAsleep(next.pid));
        return { opened };
      });
      // It gives up after 100 ms, in which a loaded machine may not get to the engine: not for good.
      const result = (await opened).ok ? await opened : await next.run([COUNT]);
      assert(result.ok, JSON.stringify(result));
      await scene.recovered(next);
      await next.end();
      await scene.assertTrue();
    });
  }
});

function isAsleep(pid: number): boolean {
  return SLEEPS.includes(fs.readFileSync(`/proc/${pid}/syscall`, 'latin1').split(' ')[0]);
}
