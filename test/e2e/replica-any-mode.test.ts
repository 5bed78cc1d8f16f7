/**
 * Readers on a replica and replication do not wait for each other, whatever the journal mode: no reader meets a lock, no
 * open transaction holds up what comes.
 *
 * On 25311ce that was so in WAL mode only. With a rollback journal a transaction waited for all readers to leave, and kept
 * new ones out meanwhile with SQLITE_BUSY. A new page size of a database in WAL mode waited for a lock that a connection has
 * for as long as it is open: the replica stood still until its readers were closed, and each of their reads said SQLITE_BUSY.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../harness/cluster.ts';
import { assertReplicated, describePair, open, type Pair } from '../harness/replicated.ts';
import { bankWriter, checkBank, createBank } from '../harness/sqlite-client.ts';

const DELAY_MS_MAX = 5000;
const COMMITS = 20;
const MODES = ['wal', 'delete', 'truncate', 'persist', 'memory', 'off'];

async function assertFollows({ primary, replica }: Pair, name: string): Promise<void> {
  const position = await primary.position(name);
  await until(
    `${name} is at ${position} on the replica`,
    async () => (await replica.position(name)) === position,
    DELAY_MS_MAX,
  );
}

describePair('a replica of a database in any journal mode', (pair) => {
  for (const mode of MODES) {
    test(`is read while a transaction is open there, journal_mode=${mode}`, async (t) => {
      const name = `held-${mode}.db`;
      createBank(pair.primary.file(name), mode);
      await assertReplicated(pair, name);
      const writer = open(t, pair.primary.file(name));
      writer.pragma(`journal_mode = ${mode}`);
      const transact = bankWriter(writer);
      const held = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
      held.exec('BEGIN');
      assert.equal(held.prepare('SELECT count(*) FROM moves').pluck().get(), 0);
      const other = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
      for (let count = 1; count <= COMMITS; count++) {
        transact();
        await assertFollows(pair, name);
        assert.equal(checkBank(other), count);
        const fresh = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
        assert.equal(checkBank(fresh), count);
        fresh.close();
      }
      assert.equal(
        held.prepare('SELECT count(*) FROM moves').pluck().get(),
        0,
        'the same snapshot',
      );
      held.exec('COMMIT');
      assert.equal(checkBank(held), COMMITS);
      await assertReplicated(pair, name);
    });
  }

  for (const [from, to] of [
    ['wal', 'delete'],
    ['wal', 'persist'],
    ['delete', 'wal'],
    ['persist', 'wal'],
  ]) {
    test(`follows from ${from} to ${to} while readers have it open`, async (t) => {
      const name = `${from}-to-${to}.db`;
      createBank(pair.primary.file(name), from);
      await assertReplicated(pair, name);
      const reader = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
      assert.equal(checkBank(reader), 0);
      const writer = open(t, pair.primary.file(name));
      writer.pragma(`journal_mode = ${to}`);
      bankWriter(writer)();
      await assertFollows(pair, name);
      assert.equal(checkBank(reader), 1);
      writer.pragma(`journal_mode = ${from}`);
      bankWriter(writer)();
      await assertFollows(pair, name);
      assert.equal(checkBank(reader), 2);
      await assertReplicated(pair, name);
    });
  }

  for (const isIdle of [true, false]) {
    const readers = isIdle ? 'idle readers' : 'readers';
    test(`follows to another page size while ${readers} have it open`, async (t) => {
      const name = `pages-${readers.length}.db`;
      createBank(pair.primary.file(name), 'wal');
      await assertReplicated(pair, name);
      const reader = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
      assert.equal(checkBank(reader), 0);
      const writer = open(t, pair.primary.file(name));
      writer.pragma('journal_mode = delete');
      writer.pragma('page_size = 1024');
      writer.exec('VACUUM');
      writer.pragma('journal_mode = wal');
      bankWriter(writer)();
      const position = await pair.primary.position(name);
      await until(
        `${name} is at ${position} on the replica`,
        async () => {
          if (!isIdle) checkBank(reader);
          return (await pair.replica.position(name)) === position;
        },
        DELAY_MS_MAX,
      );
      assert.equal(checkBank(reader), 1);
      await assertReplicated(pair, name);
    });
  }
});
