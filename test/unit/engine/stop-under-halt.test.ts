/**
 * A replica stops while it has the halt lock, under which an application has started the -wal over. On e8b0209 it took as many
 * frames of the new generation for copied as it had copied of the one before, and removed the -wal: the commit was in neither.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { checkpoint } from '../../../src/engine/apply/checkpoints.ts';
import { copyFrames, settleFiles } from '../../../src/engine/apply/replica-files.ts';
import { HaltBorrower } from '../../../src/engine/halt/borrower.ts';
import { Scheduler } from '../../../src/engine/tasks/scheduler.ts';
import { SharedState } from '../../../src/mount/shared-state.ts';
import { frameOffset, WAL_HEADER_BYTES } from '../../../src/sqlite/wal.ts';
import { sqlite3 } from '../../harness/app.ts';
import { runSql } from '../../harness/sql.ts';
import { finish } from './node-stand.ts';
import { withTwo } from './two-nodes.ts';

it('file and -wal have what was committed under it', { timeout: 60_000 }, () =>
  withTwo('wal', async ({ primary, replica, commit }) => {
    replica.apply(...primary.entries, ...commit('INSERT INTO t(data) VALUES(2);'));
    const { ctx, db } = replica;
    assert(finish(checkpoint(ctx, db)), 'all is copied');
    const halts: HaltBorrower = new HaltBorrower({
      ctx,
      scheduler: new Scheduler(() => 0),
      shared: new SharedState(),
      ask: (_, id) => halts.answer(db, id, undefined),
    });
    finish(halts.begin(db, db.position));
    const salt = db.wal.cursor?.salt1;
    runSql(replica.file, 'INSERT INTO t(data) VALUES(3);');
    const wal = fs.readFileSync(`${replica.file}-wal`);
    assert.notEqual(wal.readUInt32BE(16), salt, 'it is started over');
    // What the mount holds back.
    const writes = [
      { offset: 0, data: wal.subarray(0, WAL_HEADER_BYTES) },
      { offset: WAL_HEADER_BYTES, data: wal.subarray(WAL_HEADER_BYTES, frameOffset(2, 4096)) },
    ];
    for (const write of writes) {
      const task = halts.serve(db, { token: 1n, kind: 'write', path: 'app.db-wal', ...write });
      let step = task.next();
      for (; !step.done; step = task.next()) await setImmediate();
      assert.deepEqual(step.value, { errno: 0 });
    }
    halts.detach();
    finish(copyFrames(ctx, db));
    db.files.close();
    settleFiles(ctx, db, true);
    replica.isBroken = true;
    assert.equal(sqlite3(replica.file, 'SELECT count(*) FROM t'), '3');
  }),
);
