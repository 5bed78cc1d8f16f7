/** Nodes whose secret is in a file of its own, as systemd's LoadCredential= and container platforms have it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { decodeToken } from '../../src/cli/join-token.ts';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import { Cluster, inSync } from '../harness/cluster.ts';

const SECRET = 'hush, this is of all the nodes';

describe('a secret in a file', () => {
  let cluster: Cluster;
  let file: string;
  beforeEach(() => {
    cluster = new Cluster();
    file = path.join(cluster.dir, 'secret');
    fs.writeFileSync(file, `${SECRET}\n`, { mode: 0o400 });
  });
  afterEach(() => cluster.close());

  const node = (name: string, replication: object, primaryPort?: number) =>
    cluster.add(name, {
      candidate: primaryPort === undefined,
      passthrough: 'auto',
      primaryPort,
      config: { replication },
    });

  test('is the same secret to nodes, to the API and to the commands', async () => {
    const primary = await node('primary', { 'secret-file': file });
    await primary.start();
    const replica = await node('replica', { secret: SECRET }, primary.replicationPort);
    await replica.start();
    sqlite3(primary.file('app.db'), 'CREATE TABLE t(x); INSERT INTO t VALUES(1)');
    await inSync(primary, replica, 'app.db');
    assert.equal(sqlite3(replica.file('app.db'), 'SELECT x FROM t'), '1');

    const { httpPort } = primary;
    const words = ['verify', '--url', `http://127.0.0.1:${httpPort}`, 'app.db'];
    const given = await runCli(words, { env: { LITEFS_SECRET: SECRET } });
    assert.equal(given.status, 0, given.stderr);

    const config = ['--config', primary.configFile];
    const check = await runCli(['config', 'check', ...config]);
    assert(check.stdout.includes(`with a secret of ${file}\n`), check.stdout);
    const json = await runCli(['config', 'check', '--json', ...config]);
    assert(!json.stdout.includes(SECRET));
    const doctor = await runCli(['doctor', ...config]);
    assert.match(doctor.stdout, /^ok {4}secret-file /m);

    const token = await runCli(['token', ...config]);
    assert.match(token.stderr, /replication\.addr is 127\.0\.0\.1/, 'it is read before that');
    const open = JSON.parse(fs.readFileSync(primary.configFile, 'utf8'));
    open.replication.addr = `:${primary.replicationPort}`;
    fs.writeFileSync(primary.configFile, JSON.stringify(open));
    const shown = await runCli(['token', ...config]);
    assert.equal(decodeToken(shown.stdout).secret, SECRET, shown.stderr);
  });

  test('that others may read keeps the node from starting, which says what to type', async () => {
    const primary = await node('primary', { 'secret-file': file });
    fs.chmodSync(file, 0o644);
    primary.launch();
    assert.equal(await primary.exited, 78);
    const told = primary.logText();
    assert(told.includes(`${file}: every user of this machine may read or write it`), told);
    assert(told.includes(`Run: chmod o-rwx ${file}`), told);
    const config = ['--config', primary.configFile];
    for (const command of [['config', 'check'], ['token']]) {
      const { status, stderr } = await runCli([...command, ...config]);
      assert.equal(status, 78);
      assert(stderr.includes(`Run: chmod o-rwx ${file}`), stderr);
    }
    // Nothing of it is needed for the folder below the mount.
    assert.equal((await runCli(['mount-point', 'path', ...config])).status, 0);
    const status = await runCli(['status', ...config]);
    assert.match(status.stderr, /no node answers/);
  });
});
