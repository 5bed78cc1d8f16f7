/**
 * One name, many databases: what an application removes and makes again follows on the replica, by the log alone. On 25311ce a
 * replica fetched all pages each time, said that it had received the wrong transaction, and kept false divergences.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { inSync, until } from '../harness/cluster.ts';
import { assertReplicated, describePair } from '../harness/replicated.ts';

const LIVES = 15;

describePair('a database that is removed and made again', (pair) => {
  for (const mode of ['wal', 'delete']) {
    test(`journal mode ${mode}`, async () => {
      const { primary, replica } = pair;
      const name = `lives-${mode}.db`;
      const from = replica.log.length;
      for (let life = 0; life < LIVES; life++) {
        sqlite3(
          primary.file(name),
          `PRAGMA journal_mode=${mode}; CREATE TABLE t(life); INSERT INTO t VALUES(${life});`,
        );
        // Sometimes the replica has seen a life before it ends, and sometimes not.
        if (life % 3 === 0) await inSync(primary, replica, name);
        if (life === LIVES - 1) break;
        for (const end of ['', '-wal', '-shm', '-journal']) {
          fs.rmSync(primary.file(name + end), { force: true });
        }
      }
      await assertReplicated(pair, name);
      assert.equal(sqlite3(`file:${replica.file(name)}?mode=ro`, 'SELECT life FROM t'), '14');
      const said = replica.log
        .slice(from)
        .map(({ msg }) => msg)
        .filter((text) => /received|resync|damaged/.test(text));
      assert.deepEqual(said, []);
      assert.deepEqual(fs.readdirSync(path.join(replica.data, 'divergence')), []);
    });
  }

  // Up to c7c41e8 each was fetched as a whole, or kept as what the primary never had.
  test('while the replica is away: it follows by the log when it is back', async () => {
    const { primary, replica } = pair;
    const make = (name: string, life: number) =>
      sqlite3(primary.file(name), `CREATE TABLE t(life); INSERT INTO t VALUES(${life});`);
    const [again, ended, never] = ['again.db', 'ended.db', 'never.db'];
    for (const name of [again, ended]) make(name, 0);
    await assertReplicated(pair, again);
    await assertReplicated(pair, ended);
    fs.rmSync(primary.file(again));
    await until('its end is there', () => !fs.existsSync(replica.file(again)));
    await replica.stop();
    make(again, 1);
    fs.rmSync(primary.file(ended));
    make(never, 0);
    fs.rmSync(primary.file(never));
    const from = replica.log.length;
    await replica.start();
    await assertReplicated(pair, again);
    await until('its end is there', () => !fs.existsSync(replica.file(ended)));
    assert.equal(sqlite3(`file:${replica.file(again)}?mode=ro`, 'SELECT life FROM t'), '1');
    const said = replica.log
      .slice(from)
      .map(({ msg }) => msg)
      .filter((text) => /received|resync|damaged|kept|divergen/.test(text));
    assert.deepEqual(said, []);
    assert.deepEqual(fs.readdirSync(path.join(replica.data, 'divergence')), []);
  });

  // On f451073 the replica was behind for ever: it waited for what was there no more.
  test('one that is not made again is not waited for', async () => {
    const { primary, replica } = pair;
    const name = 'gone.db';
    sqlite3(primary.file(name), 'CREATE TABLE t(x);');
    await assertReplicated(pair, name);
    const heard = async () => Object.keys((await replica.info()).upstream?.positions ?? {});
    await until('the primary has told of it', async () => (await heard()).includes(name));
    fs.rmSync(primary.file(name));
    await until('the replica expects no more of it', async () => !(await heard()).includes(name));
  });
});
