import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Follower } from '../../../src/engine/capture/follower.ts';
import type { EngineContext } from '../../../src/engine/core/context.ts';
import type { Database } from '../../../src/engine/core/database.ts';
import { Scheduler } from '../../../src/engine/tasks/scheduler.ts';
import { FileWrites } from '../../../src/engine/wal/file-writes.ts';
import { withFolder } from '../os/folder.ts';
import { NodeStand } from './node-stand.ts';

function stand() {
  const clock = { ms: 0 };
  const clockMs = () => clock.ms;
  const ctx = { clockMs, log() {} } as unknown as EngineContext;
  const db = {
    name: 'a.db',
    status: { state: 'ok' },
    suspicion: undefined,
    writes: new FileWrites(),
    forgetWal() {},
    wal: { guard: { release() {} } },
  } as unknown as Database;
  const follower = new Follower(ctx, new Scheduler(clockMs), () => {});
  return { clock, db, follower };
}

it('waits for nothing, and is woken by events, when nothing has happened', () => {
  const { follower } = stand();
  assert.equal(follower.nextInMs(), undefined);
  assert.equal(follower.isHot, false);
});

it('looks again by itself soon after a write, without being woken', () => {
  const { clock, db, follower } = stand();
  follower.fileWritten(db);
  const inMs = follower.nextInMs() ?? Number.NaN;
  assert(inMs > 0 && inMs <= 20, `${inMs}`);
  assert.equal(follower.isHot, true);
  clock.ms += inMs;
  assert.equal(follower.nextInMs(), 0);
});

it('is woken for others while one that has failed waits to be tried again', () => {
  const { db, follower } = stand();
  follower.failed(db, Object.assign(new Error('ENOSPC: no space left'), { errno: -28 }));
  assert((follower.nextInMs() ?? 0) >= 500);
  assert.equal(follower.isHot, false);
  assert.notEqual(db.suspicion, undefined);
});

it('takes no bug for a fault of the outside', () => {
  const { db, follower } = stand();
  assert.throws(() => follower.failed(db, new TypeError('x is not a function')), TypeError);
});

/** More pages than a comparison reads in one step. */
const LARGE = `PRAGMA journal_mode=wal; CREATE TABLE t(x);
  WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 400)
  INSERT INTO t SELECT randomblob(4000) FROM c;`;

it('looks again for what came while it captured, and then no more', () =>
  withFolder((folder) => {
    const node = new NodeStand(folder);
    try {
      node.sql(LARGE);
      node.capture();
      const { db } = node;
      const clock = { ms: 0 };
      const clockMs = () => clock.ms;
      const scheduler = new Scheduler(clockMs);
      const follower = new Follower({ ...node.ctx, clockMs }, scheduler, () => {});
      const run = () => {
        follower.poll();
        while (!scheduler.isIdle) scheduler.step();
      };
      const before = db.position.txid;
      db.suspicion = 'a test says so';
      follower.touched(db);
      // Behind the scan of the -wal, with which its view begins.
      for (let step = 0; step < 2; step++) scheduler.step();
      assert.equal(scheduler.isIdle, false, 'the comparison takes several steps');
      node.sql('INSERT INTO t VALUES(1);');
      follower.touched(db);
      run();
      assert.equal(db.position.txid, before, 'it compares what was there when it began');
      for (let looks = 0; follower.nextInMs() !== undefined; looks++) {
        assert(looks < 5, 'it looks for ever');
        clock.ms += follower.nextInMs() ?? 0;
        run();
      }
      assert.equal(db.position.txid, before + 1);
    } finally {
      node.close();
    }
  }));
