/**
 * A write through the proxy of which it cannot be told what it has committed: its client reads nothing that may be older. On
 * 0bc51d1 the cookie had the position before, and a replica answered without the write.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { inSync } from '../harness/cluster.ts';
import { ProxiedCluster } from '../harness/proxied.ts';
import { WebClient } from '../harness/web-client.ts';

test('a client waits for what may be committed', async () => {
  const cluster = await ProxiedCluster.start({ skipApps: true });
  const { node: primary, port, appPort } = cluster.primary;
  const replica = cluster.replica.node;
  const target = http.createServer((_, response) => response.end('done'));
  target.listen(appPort, '127.0.0.1');
  await once(target, 'listening');
  const client = new WebClient();
  try {
    const app = new Sqlite(primary.file('app.db'));
    app.exec('CREATE TABLE t(x)');
    await inSync(primary, replica, 'app.db');
    const txid = Number.parseInt((await primary.position('app.db')).split('/')[0], 16);
    // Nothing tells of its commits, and its lock lets nobody read.
    app.pragma('locking_mode = EXCLUSIVE');
    app.pragma('journal_mode = MEMORY');
    app.exec('INSERT INTO t VALUES(1)');
    const answer = await client.post(port, '/');
    assert.equal(answer.status, 200);
    assert.equal(Number.parseInt(client.cookies.get('__txid') ?? '', 16), txid + 1);
    app.close();
    await inSync(primary, replica, 'app.db');
    const later = Number.parseInt((await replica.position('app.db')).split('/')[0], 16);
    assert.equal(later, txid + 1);
    await client.post(port, '/');
    assert.equal(Number.parseInt(client.cookies.get('__txid') ?? '', 16), txid + 1);
  } finally {
    client.close();
    target.close();
    await cluster.close();
  }
});
