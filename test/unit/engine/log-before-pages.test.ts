/**
 * The log of a replica is what redoes the pages of its file: whenever the engine changes the database file, the log is on the disk.
 * Each of these failed while the log was flushed once a second alone.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { checkpoint } from '../../../src/engine/apply/checkpoints.ts';
import { layoutOf } from '../../../src/store/layout.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { withFolder } from '../os/folder.ts';
import { Disk } from './cut-off.ts';
import { finish, NodeStand } from './node-stand.ts';

const REPLICA = { role: 'replica', formerRole: 'replica' } as const;
const NAME = 'app.db';
const FILLED = 'CREATE TABLE t(x); INSERT INTO t VALUES(hex(zeroblob(5000)));';

/** Entries of a primary with that journal mode: one that makes the database, one that changes it. */
function withEntries(
  mode: 'wal' | 'delete',
  body: (entries: readonly Buffer[], folder: string) => void | Promise<void>,
): Promise<void> {
  return withFolder(async (folder) => {
    const primary = new NodeStand(path.join(folder, 'primary'));
    try {
      for (const sql of [FILLED, 'UPDATE t SET x = 1;']) {
        primary.sql(`PRAGMA journal_mode=${mode}; ${sql}`);
        primary.capture(mode !== 'wal');
      }
      await body(primary.entries, folder);
    } finally {
      primary.close();
    }
  });
}

/** Watches the files of a node: what is done to the database file while something of the log is not flushed. It is at first. */
function watch(t: TestContext, dir: string) {
  const { tree, ltx } = layoutOf(dir);
  const file = path.join(tree, NAME);
  const log = `${path.join(ltx, NAME)}/`;
  const seen = { changes: 0, early: [] as string[] };
  let isFlushed = false;
  new Disk(t, dir, (call, ...files) => {
    if (files.some((name) => name.startsWith(log))) isFlushed = call === 'fdatasyncSync';
    if (!files.includes(file) || call.endsWith('syncSync')) return;
    seen.changes++;
    if (!isFlushed) seen.early.push(call);
  });
  return seen;
}

function assertInOrder({ changes, early }: ReturnType<typeof watch>): void {
  assert.notEqual(changes, 0, 'the file was not changed');
  assert.deepEqual(early, []);
}

for (const mode of ['wal', 'delete'] as const) {
  test(`a new database gets its name, journal_mode=${mode}; what follows waits for no disk`, (t) =>
    withEntries(mode, (entries, folder) => {
      const dir = path.join(folder, 'replica');
      const replica = new NodeStand(dir);
      const seen = watch(t, dir);
      const flush = t.mock.method(replica.db.log, 'sync');
      assert.ifError(replica.apply(entries[0])[0].error);
      assertInOrder(seen);
      const flushes = flush.mock.callCount();
      for (const { error } of replica.apply(...entries.slice(1))) assert.ifError(error);
      assert.equal(flush.mock.callCount(), flushes);
      t.mock.restoreAll();
      replica.close();
    }));

  test(`a checkpoint, journal_mode=${mode}`, (t) =>
    withEntries(mode, (entries, folder) => {
      const dir = path.join(folder, 'replica');
      const replica = new NodeStand(dir);
      replica.apply(...entries);
      const seen = watch(t, dir);
      assert(finish(checkpoint(replica.ctx, replica.db)));
      t.mock.restoreAll();
      assertInOrder(seen);
      replica.close();
    }));
}

test('a drop', (t) =>
  withFolder((folder) => {
    const dir = path.join(folder, 'replica');
    const primary = new NodeStand(path.join(folder, 'primary'));
    const replica = new NodeStand(dir);
    primary.sql(FILLED);
    primary.capture(true);
    fs.rmSync(primary.file);
    primary.capture(true);
    replica.apply(primary.entries[0]);
    const seen = watch(t, dir);
    const [{ error, position }] = replica.apply(primary.entries[1]);
    t.mock.restoreAll();
    assert.ifError(error);
    assert.deepEqual(position, { txid: 2, checksum: 0n });
    assertInOrder(seen);
    primary.close();
    replica.close();
  }));

test('what a start redoes from a log that a killed process had not flushed', (t) =>
  withEntries('delete', async (entries, folder) => {
    const dir = path.join(folder, 'replica');
    const stand = new EngineStand(dir, REPLICA);
    await stand.start();
    for (const bytes of entries) {
      await stand.call('apply', { database: NAME, source: { bytes: new Uint8Array(bytes) } });
    }
    const page = Buffer.alloc(4096);
    stand.database(NAME).files.write('db', page, 4096);
    stand.die();
    const next = new EngineStand(dir, REPLICA);
    const seen = watch(t, dir);
    next.engine.recover();
    t.mock.restoreAll();
    assert.equal(next.database(NAME).position.txid, 2);
    assertInOrder(seen);
    next.die();
  }));
