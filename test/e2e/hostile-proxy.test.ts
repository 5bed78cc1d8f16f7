/**
 * What strangers tell the proxies of a cluster, by connections of their own. On baf9d2f forwarding headers were believed, all but
 * one of these requests were sent on, HTTP/1.0 without a Host failed, a cookie that was made up had a read wait for 5 s, and
 * connections took the descriptors that the engine needs for a commit.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { txidSetCookie } from '../../src/proxy/cookie.ts';
import { program } from '../harness/cli.ts';
import { Cluster, freePorts, type TestNode, until } from '../harness/cluster.ts';
import { ProxiedCluster } from '../harness/proxied.ts';
import { CLIENT_ADDRESS, exchange, seen } from '../harness/raw-http.ts';
import { WebClient } from '../harness/web-client.ts';

const SECRET = '0123456789abcdef0123456789abcdef0123456789abcdef';
const END = 'Connection: close\r\n\r\n';

describe('the proxies of a cluster among strangers', () => {
  let cluster: ProxiedCluster;
  let primary: number;
  let replica: number;
  const client = new WebClient();

  before(async () => {
    cluster = await ProxiedCluster.start({ config: { replication: { secret: SECRET } } });
    [primary, replica] = cluster.ports;
    assert.equal((await client.post(primary, '/keys/a?value=1')).status, 200);
    assert.equal((await client.fetch(replica, '/keys/a')).status, 200);
  });
  after(async () => {
    client.close();
    await cluster?.close();
  });

  /** Each way to the application of a node, and the addresses that it is to see. */
  const ways = () =>
    [
      ['GET', primary, CLIENT_ADDRESS],
      ['GET', replica, CLIENT_ADDRESS],
      ['POST', primary, CLIENT_ADDRESS],
      ['POST', replica, `${CLIENT_ADDRESS}, 127.0.0.1`],
    ] as const;

  it('tell the application who asks, and nothing that a stranger says of it', async () => {
    const forged = [
      'X-Forwarded-For: 6.6.6.6',
      'x_forwarded_for: 6.6.6.6',
      'X.Forwarded.For: 6.6.6.6',
      'X-Forwarded-Host: evil.example',
      'X_Forwarded_Host: evil.example',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Port: 666',
      'X-Forwarded-Prefix: /evil',
      'Forwarded: for=6.6.6.6;host=evil.example',
      'X-Real-IP: 6.6.6.6',
      'X_REAL_IP: 6.6.6.6',
      'True-Client-IP: 6.6.6.6',
      'X-Original-URL: /evil',
      'Proxy: http://evil.example',
      'litefs_role: evil',
    ].join('\r\n');
    const node =
      'litefs-forwarded-by: box-replica-1\r\nlitefs-forwarded-seal: abcdefghijklmnopqrstuv';
    for (const [method, port, addresses] of ways()) {
      // A replica that is told of a node before it takes itself for the primary by mistake, and refuses.
      const more = port === primary ? `${node}\r\n` : '';
      const request = `${method} /echo HTTP/1.1\r\nHost: shop.example\r\n${forged}\r\n${more}${END}`;
      const headers = seen(await exchange(port, request));
      assert.equal(headers.get('x-forwarded-for'), addresses, `${method} ${port}`);
      assert.equal(headers.get('x-forwarded-host'), 'shop.example');
      assert.equal(headers.get('x-forwarded-proto'), 'http');
      assert.doesNotMatch([...headers].join('\n'), /6\.6\.6\.6|evil|666|litefs-forwarded/);
    }
  });

  it('take no request that can be read in two ways', async () => {
    const get = 'GET /echo HTTP/1.1\r\n';
    const post = 'POST /echo HTTP/1.1\r\nHost: a\r\n';
    for (const [what, text] of [
      ['two Hosts', `${get}Host: a\r\nHost: b\r\n`],
      ['the same Host twice', `${get}Host: a\r\nhost: a\r\n`],
      ['no Host', get],
      ['a Host that is none', `${get}Host: a@b\r\n`],
      ['two hosts in one', `${get}Host: a, b\r\n`],
      ['a path in Host', `${get}Host: a/b\r\n`],
      ['a URL with another Host', 'GET http://a/echo HTTP/1.1\r\nHost: b\r\n'],
      ['a URL with another port', 'GET http://a:81/echo HTTP/1.1\r\nHost: a:82\r\n'],
      ['a URL with a user', 'GET http://b@a/echo HTTP/1.1\r\nHost: a\r\n'],
      ['a URL of something else', 'GET ftp://a/echo HTTP/1.1\r\nHost: a\r\n'],
      ['gzip, chunked', `${post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
      [
        'chunked twice',
        `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      ],
      ['identity', `${post}Transfer-Encoding: identity\r\n`],
      ['both framings', `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
      [
        'chunks in HTTP/1.0',
        'POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      ],
    ] as const) {
      for (const port of [primary, replica]) {
        const head = text.includes('\r\n\r\n') ? text : `${text}${END}`;
        const answer = await exchange(port, head);
        assert.match(answer, /^HTTP\/1\.1 400 /, `${what}: ${answer.slice(0, 300)}`);
        assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1, what);
        assert.match(answer, /connection: close/i, what);
      }
    }
  });

  it('take a URL with its own Host, and send its path on', async () => {
    for (const [target, host] of [
      ['http://Shop.Example/echo?a=b', 'shop.example'],
      ['http://shop.example:80/echo?a=b', 'shop.example'],
      ['http://[::1]:81/echo?a=b', '[::1]:81'],
    ]) {
      for (const [method, port] of ways()) {
        const answer = await exchange(
          port,
          `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${END}`,
        );
        assert.equal(seen(answer).get('host'), host);
        assert.match(answer, /"url":"\/echo\?a=b"/);
      }
    }
  });

  it('take HTTP/1.0 without a Host', async () => {
    for (const [method, port] of ways()) {
      const body = method === 'POST' ? 'Content-Length: 5\r\n\r\nhello' : '\r\n';
      const answer = await exchange(port, `${method} /echo HTTP/1.0\r\n${body}`);
      const headers = seen(answer);
      assert.match(headers.get('host') ?? '', /^127\.0\.0\.1:\d+$/);
      assert.match(headers.get('via') ?? '', /^1\.0 litefs-lite-[0-9a-f]{12}\b/);
      assert.match(answer, method === 'POST' ? /"bytes":5/ : /"bytes":0/);
      assert.doesNotMatch(answer, /transfer-encoding/i);
    }
  });

  it('name themselves in Via, and refuse what has passed them before', async () => {
    for (const [method, port] of ways()) {
      const request = (via: string) =>
        `${method} /echo HTTP/1.1\r\nHost: a\r\nVia: ${via}\r\n${END}`;
      const via = seen(await exchange(port, request('1.1 caddy'))).get('via') ?? '';
      const hops = via.split(', ');
      assert.equal(hops.length, method === 'POST' && port === replica ? 3 : 2, via);
      assert.equal(hops[0], '1.1 caddy');
      const looped = await exchange(port, request(via));
      assert.match(looped, /^HTTP\/1\.1 508 /);
      assert.match(looped, /has passed box-|has passed \S+ before/);
    }
  });

  it('have no read wait for a cookie that nobody of the cluster has set', async () => {
    const txids = new Map([['app.db', 0xfffff]]);
    const realm = { secret: 'that of another cluster', clusterId: '0', databases: ['app.db'] };
    const strange = txidSetCookie({ txids, isCertain: true }, 9, realm, Date.now()).split(';')[0];
    for (const cookie of [
      '__txid=001fffffffffffff',
      '__txid=00000000000fffff',
      '__txid=app.db:00000000000fffff',
      strange,
    ]) {
      const startedMs = performance.now();
      const answer = await client.fetch(replica, '/keys/a', { headers: { cookie } });
      const ms = performance.now() - startedMs;
      assert.equal(answer.headers['litefs-role'], 'replica', cookie);
      assert.deepEqual(answer.json(), { value: '1' });
      assert(ms < 2000, `${cookie}: ${Math.round(ms)} ms`);
    }
  });
});

/** Few, so that a test can use them up; a node has some sixty of its own. */
const DESCRIPTORS = 300;

describe('a proxy with more connections than descriptors', () => {
  let cluster: Cluster;
  let node: TestNode;
  let port: number;
  const sockets: net.Socket[] = [];
  const app = http.createServer((_, response) => response.end('well'));

  before(async () => {
    cluster = new Cluster();
    app.listen(0, '127.0.0.1');
    await once(app, 'listening');
    [port] = await freePorts(1);
    const limited = path.join(cluster.dir, 'limited');
    const command = `exec prlimit --nofile=${DESCRIPTORS}:${DESCRIPTORS} '${program()}' "$@"`;
    fs.writeFileSync(limited, `#!/bin/sh\n${command}\n`, { mode: 0o755 });
    node = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      executable: limited,
      config: {
        proxy: {
          addr: `127.0.0.1:${port}`,
          target: `127.0.0.1:${(app.address() as AddressInfo).port}`,
          db: 'app.db',
        },
      },
    });
    await node.start();
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    app.closeAllConnections();
    app.close();
    await cluster?.close();
  });

  it('leaves the engine those that the next commits need', async () => {
    // Stalled at once, in the middle of a body, and with an answer that is not read.
    for (let i = 0; i < 2 * DESCRIPTORS; i++) {
      const socket = net.connect({
        port,
        host: '127.0.0.1',
        localAddress: `127.0.0.${2 + (i % 7)}`,
      });
      socket.on('error', () => {});
      sockets.push(socket);
      if (i % 3 === 1) socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf');
      if (i % 3 === 2) socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await once(socket, 'connect').catch(() => {});
    }
    for (const name of ['app.db', 'second.db', 'folder.db']) {
      const db = new Sqlite(node.file(name));
      db.pragma('journal_mode = wal');
      db.exec('CREATE TABLE t(x); INSERT INTO t VALUES(1)');
      db.close();
      await until(`${name} is captured`, async () => {
        assert.doesNotMatch(node.logText(), /EMFILE|too many open files/i);
        return /^0{15}[1-9a-f]\//.test(await node.position(name));
      });
    }
    await node.logged(/^the proxy turns connections away: descriptors are short/);
    for (const socket of sockets) socket.destroy();
    await until('others are let in', async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
      return answer?.status === 200;
    });
  });
});
