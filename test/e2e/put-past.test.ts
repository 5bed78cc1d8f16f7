/** Databases that somebody copies into the mount of a replica: the primary's replace them, and they are kept. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { inSync, startCluster, until } from '../harness/cluster.ts';

test('what was put on a replica past its primary is kept, whatever becomes of its name', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    const own = path.join(cluster.dir, 'own.db');
    sqlite3(own, "CREATE TABLE own(x); INSERT INTO own VALUES('mine')");
    for (const name of ['named.db', 'alone.db']) fs.copyFileSync(own, replica.file(name));
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
