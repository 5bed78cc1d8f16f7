/** Databases that somebody puts on a replica: the mount takes none, and one in its data directory is kept when it is replaced. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { sqlite3 } from '../harness/app.ts';
import { inSync, startCluster, until } from '../harness/cluster.ts';
import { databaseImage } from '../harness/image.ts';

test("a replica takes no database but the primary's, and what a try has left can be removed", async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    const own = path.join(cluster.dir, 'own.db');
    sqlite3(own, "CREATE TABLE own(x); INSERT INTO own VALUES('mine')");
    for (const name of ['copied.db', 'early.db']) {
      const { stderr, status } = spawnSync('cp', [own, replica.file(name)], { encoding: 'utf8' });
      assert.equal(status, 1);
      assert.match(stderr, /Read-only file system/);
    }
    spawnSync('rm', [replica.file('copied.db')]);
    assert.deepEqual(
      fs.readdirSync(replica.mount).filter((name) => /copied/.test(name)),
      [],
    );
    // An application that came before the primary's database has it open for writing.
    const early = new Sqlite(replica.file('early.db'));
    early.pragma('journal_mode = memory');
    sqlite3(primary.file('early.db'), 'CREATE TABLE t(x); INSERT INTO t VALUES(1)');
    await inSync(primary, replica, 'early.db');
    assert.equal(early.prepare('SELECT count(*) FROM t').pluck().get(), 1);
    assert.throws(() => early.exec('INSERT INTO t VALUES(2)'), /disk I\/O|readonly/);
    early.close();
    assert(
      databaseImage(replica.backing('early.db')).equals(databaseImage(primary.backing('early.db'))),
    );
  } finally {
    await cluster.close();
  }
});

test('what was put on a replica past its primary is kept, whatever becomes of its name', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    const own = path.join(cluster.dir, 'own.db');
    sqlite3(own, "CREATE TABLE own(x); INSERT INTO own VALUES('mine')");
    for (const name of ['named.db', 'alone.db']) fs.copyFileSync(own, replica.backing(name));
    sqlite3(primary.file('named.db'), 'CREATE TABLE t(x)');
    await inSync(primary, replica, 'named.db');
    assert.match(sqlite3(replica.file('named.db'), '.tables'), /^t$/);
    const kept = (name: string) => {
      const folder = path.join(replica.data, 'divergence', name);
      const [first = ''] = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
      return path.join(folder, first);
    };
    assert.deepEqual(
      fs.readFileSync(path.join(kept('named.db'), 'named.db')),
      fs.readFileSync(own),
    );
    assert.match(replica.logText(), /warn: named\.db was put here past its primary.*kept in/);

    // At its next start the replica takes it for one of its own that the primary does not have.
    assert.equal(await replica.stop(), 0);
    await replica.start();
    await until('its removal', () => !fs.existsSync(replica.backing('alone.db')));
    const files = fs.readdirSync(kept('alone.db'));
    assert(files.includes('0000000000000001-0000000000000001.ltx'), files.join());
  } finally {
    await cluster.close();
  }
});
