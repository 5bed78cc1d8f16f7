/**
 * Strangers, and web pages that an administrator looks at, at the port of the API.
 *
 * On 25311ce: any Host was answered, so that a page whose name was made to lead to the node read /info, /events, /snapshots
 * and /history (row l). 1,024 idle connections were all that there were, and `status` was refused with them; 200 GETs of
 * /verify were 200 readings of all pages, one after the other, and a commit had to wait 12.8 s for them (row i).
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { runCli } from '../harness/cli.ts';
import { type Cluster, inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';

const SECRET = '4c8f0a1be27d93560f1e2d3c4b5a6978';
const PAGES = ['/', '/info', '/databases', '/history', '/snapshots', '/metrics', '/healthz'];

/** The status of a GET. `localAddress`: from where. */
function get(
  node: TestNode,
  path: string,
  options: { host?: string; localAddress?: string } = {},
): Promise<number> {
  const { host, localAddress } = options;
  const headers: http.OutgoingHttpHeaders = { authorization: `Bearer ${SECRET}` };
  if (host !== undefined) headers.host = host;
  return new Promise((resolve, reject) => {
    const port = node.httpPort;
    const request = http.get({
      port,
      host: '127.0.0.1',
      path,
      headers,
      localAddress,
      agent: false,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      resolve(response.statusCode ?? 0);
      if (path === '/events') request.destroy();
      else response.resume();
    });
  });
}

describe('a web page whose name leads to the node', () => {
  let cluster: Cluster;
  let primary: TestNode;
  before(async () => {
    const config = {
      http: { hosts: ['litefs.example.org'] },
      lease: { 'advertise-url': 'http://box1.test:20202' },
      replication: { secret: SECRET },
    };
    ({ cluster, primary } = await startCluster('auto', { replicas: 0, config }));
  });
  after(() => cluster?.close());

  it('reads nothing', async () => {
    for (const path of [...PAGES, '/events', '/verify?name=a.db', '/export?name=a.db']) {
      for (const host of ['evil.example', `evil.example:${primary.httpPort}`, 'box1.test.evil']) {
        assert.equal(await get(primary, path, { host }), 421, `${path} of ${host}`);
      }
    }
  });

  it('does not keep away those who ask by a name of the node, or its address', async () => {
    for (const host of [
      `127.0.0.1:${primary.httpPort}`,
      'localhost',
      '10.1.2.3:20202',
      '[2001:db8::1]',
      os.hostname(),
      'box1.test:20202',
      'Litefs.Example.org',
    ]) {
      for (const path of ['/info', '/events', '/metrics']) {
        assert.equal(await get(primary, path, { host }), 200, `${path} of ${host}`);
      }
    }
  });
});

describe('a stranger', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  before(async () => {
    const config = { replication: { secret: SECRET } };
    ({ cluster, primary, replica } = await startCluster('auto', { config }));
  });
  after(() => cluster?.close());

  it('who holds 1,030 connections locks out neither commands nor other addresses', async () => {
    const sockets: net.Socket[] = [];
    try {
      for (let i = 0; i < 1030; i++) {
        const socket = net.connect({ port: primary.httpPort, host: '127.0.0.1' });
        socket.on('error', () => {});
        sockets.push(socket);
        await once(socket, 'connect');
      }
      assert.equal(await get(primary, '/info', { localAddress: '127.0.0.77' }), 200);
      const status = await runCli(['status', '--config', primary.configFile]);
      assert.equal(status.status, 0, status.stderr);
      const verify = await runCli(['verify', '--config', primary.configFile]);
      assert.equal(verify.status, 0, verify.stderr);
      const held = sockets.filter((socket) => !socket.destroyed);
      assert(held.length <= 256, `${held.length} are held`);
      // They send no request, and are let go after 10 s.
      for (const socket of sockets) socket.resume();
      await until('the connections are closed', () => sockets.every((each) => each.destroyed));
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  it('who has a database read 200 times holds up no commit, here or on a replica', async () => {
    const db = new Sqlite(primary.file('big.db'));
    db.pragma('journal_mode = wal');
    db.exec('CREATE TABLE t(x); CREATE TABLE n(i)');
    const fill = db.prepare('INSERT INTO t VALUES(randomblob(1000000))');
    db.transaction(() => {
      for (let i = 0; i < 64; i++) fill.run();
    })();
    await inSync(primary, replica, 'big.db');
    try {
      for (const node of [primary, replica]) {
        let isAnswered = false;
        const asked = Promise.all(
          Array.from({ length: 200 }, () => get(node, '/verify?name=big.db')),
        ).finally(() => {
          isAnswered = true;
        });
        let slowestMs = 0;
        while (!isAnswered) {
          const startedMs = performance.now();
          db.exec('INSERT INTO n VALUES(1)');
          await inSync(primary, replica, 'big.db');
          slowestMs = Math.max(slowestMs, performance.now() - startedMs);
        }
        assert((await asked).every((status) => status === 200));
        assert(slowestMs < 2000, `${slowestMs} ms for a commit, while the ${node.name} was asked`);
      }
    } finally {
      db.close();
    }
  });
});
