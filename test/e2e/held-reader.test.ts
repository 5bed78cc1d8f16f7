/**
 * A reader that sits on its transaction: a report that runs for a minute, a backup, a forgotten shell. On 25311ce it held up all
 * that followed in a rollback-journal mode.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { setTimeout as after } from 'node:timers/promises';
import { inSync, startCluster, until } from '../harness/cluster.ts';
import { assertReplicated, open } from '../harness/replicated.ts';
import { bankWriter, checkBank, createBank } from '../harness/sqlite-client.ts';

const HOLD_MS = 20_000;
const BETWEEN_COMMITS_MS = 5;
const DELAY_MS_MAX = 1000;
/** The replica's -wal once it can be started over: what two checkpoints leave behind. */
const WAL_BYTES_MAX = 16 << 20;

for (const mode of ['wal', 'delete']) {
  test(`a read transaction held on the replica for half a minute delays nothing and sees no change in journal mode ${mode}`, async (t) => {
    const { cluster, primary, replica } = await startCluster('auto');
    t.after(() => cluster.close());
    const name = 'held.db';
    createBank(primary.file(name), mode);
    const writer = open(t, primary.file(name));
    const transact = bankWriter(writer, 12_000);
    transact();
    await assertReplicated({ primary, replica }, name);

    const reader = open(t, replica.file(name), { readonly: true, timeout: 0 });
    reader.exec('BEGIN');
    const moves = reader.prepare('SELECT count(*) FROM moves').pluck();
    assert.equal(moves.get(), 1);
    let commits = 1;
    const endMs = performance.now() + HOLD_MS;
    while (performance.now() < endMs) {
      transact();
      commits++;
      await after(BETWEEN_COMMITS_MS);
      if (commits % 200 !== 0) continue;
      const position = await primary.position(name);
      await until(
        `the replica is at ${position}`,
        async () => (await replica.position(name)) === position,
        DELAY_MS_MAX,
      );
      assert.equal(moves.get(), 1);
    }
    assert.equal(reader.pragma('integrity_check', { simple: true }), 'ok');
    reader.exec('COMMIT');
    await inSync(primary, replica, name);
    assert.equal(checkBank(reader), commits);

    // What piled up behind the reader goes away with it.
    await until('the -wal is small again', () => {
      transact();
      return fs.statSync(replica.backing(`${name}-wal`)).size < WAL_BYTES_MAX;
    });
    await assertReplicated({ primary, replica }, name);
  });
}
