/** Folders of the mount in the hands of tools that know nothing of it. On 0bc51d1 each of these failed at the `-pos` files. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { type Cluster, startCluster, type TestNode } from '../harness/cluster.ts';

describe('a folder with databases', () => {
  let cluster: Cluster;
  let primary: TestNode;
  before(async () => {
    ({ cluster, primary } = await startCluster('auto', { replicas: 0 }));
  });
  after(() => cluster?.close());

  const rows = (file: string) => {
    const db = new Sqlite(file, { readonly: true });
    try {
      return db.prepare('SELECT count(*) FROM t').pluck().get();
    } finally {
      db.close();
    }
  };
  /** Runs a script in the mount, in which $1 is a new folder with a database that has a position. */
  const run = async (folder: string, script: string) => {
    fs.mkdirSync(primary.file(folder));
    const db = new Sqlite(primary.file(`${folder}/app.db`));
    db.exec('CREATE TABLE t(x); INSERT INTO t VALUES(1)');
    db.close();
    assert.match(await primary.position(`${folder}/app.db`), /^0{15}2\//);
    const words = ['-euc', script, 'sh', folder];
    execFileSync('sh', words, { cwd: primary.mount, stdio: 'pipe' });
  };

  it('is removed by rm -r', async () => {
    await run('removed', 'rm -r "$1"');
    assert(!fs.existsSync(primary.file('removed')));
  });

  it('is copied by cp -r', async () => {
    await run('copied', 'cp -r "$1" copy; rm -r "$1"');
    assert.equal(rows(primary.file('copy/app.db')), 1);
  });

  it('is moved by mv, all that is in it', async () => {
    await run('moved', 'mkdir arrived; mv "$1"/* arrived; rmdir "$1"');
    assert.equal(rows(primary.file('arrived/app.db')), 1);
  });

  it('is packed and unpacked by tar', async () => {
    await run('packed', 'tar cf ../folder.tar "$1"; rm -r "$1"; tar xf ../folder.tar');
    assert.equal(rows(primary.file('packed/app.db')), 1);
    assert.match(await primary.position('packed/app.db'), /^[0-9a-f]{16}\//);
  });
});
