/** What the primary does to other databases of a directory in which a commit under the halt lock waits for it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, it } from 'node:test';
import { type Cluster, inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';
import { assertSame, halt } from '../harness/halt.ts';
import { runShell, shellOutput } from '../harness/sqlite-shell.ts';

const COMMITS = 60;
const DATABASES = 12;

let cluster: Cluster;
let primary: TestNode;
let replica: TestNode;
before(async () => {
  ({ cluster, primary, replica } = await startCluster('auto'));
});
after(() => cluster?.close());

it('makes databases, in any journal mode, and drops one, while a replica commits', {
  timeout: 60_000,
}, async () => {
  const mine = 'mine.db';
  const others = Array.from({ length: DATABASES }, (_, i) =>
    i % 3 === 2 ? `new/${i}.db` : `${i}.db`,
  );
  const create = 'CREATE TABLE t(x); INSERT INTO t VALUES(1);';
  await shellOutput(primary.file(mine), create);
  await shellOutput(primary.file('old.db'), create);
  for (const name of [mine, 'old.db']) await inSync(primary, replica, name);
  const query = `name=${mine}&id=31`;
  assert.equal((await halt(replica, 'POST', query)).status, 200);
  const commits = runShell(replica.file(mine), 'INSERT INTO t VALUES(2);\n'.repeat(COMMITS));
  await shellOutput(primary.file('old.db'), `.shell rm ${primary.file('old.db')}`);
  await shellOutput(primary.file('0.db'), `.shell mkdir ${primary.file('new')}`);
  for (const [i, name] of others.entries()) {
    const mode = i % 2 === 0 ? 'wal' : 'delete';
    await shellOutput(primary.file(name), `PRAGMA journal_mode=${mode}; ${create}`);
  }
  const { status, stderr } = await commits;
  assert.equal(status, 0, `${stderr}\n${replica.logText()}\n${primary.logText()}`);
  for (const name of others) await inSync(primary, replica, name);
  await until('old.db is gone', () => !fs.existsSync(replica.backing('old.db')));
  assert.equal((await halt(replica, 'DELETE', query)).status, 200);
  for (const name of [mine, ...others]) await assertSame([primary, replica], name);
  assert.equal(await shellOutput(replica.file(mine), 'SELECT count(*) FROM t;'), `${COMMITS + 1}`);
});
