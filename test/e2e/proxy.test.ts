/** The HTTP proxy in front of a real application on two nodes: where requests go, and what comes back. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { until } from '../harness/cluster.ts';
import { type HeldLink, heldLink } from '../harness/held-link.ts';
import { ProxiedCluster } from '../harness/proxied.ts';
import { WebClient } from '../harness/web-client.ts';

const TXID = /^[0-9a-f]{16}$/;

describe('the proxies of a primary and its replica', () => {
  let cluster: ProxiedCluster;
  let primary: number;
  let replica: number;
  const client = new WebClient();

  before(async () => {
    cluster = await ProxiedCluster.start({
      proxy: {
        passthrough: ['*.png'],
        'always-forward': ['/keys/forwarded*'],
        'trusted-proxies': ['127.0.0.0/8'],
      },
    });
    [primary, replica] = cluster.ports;
  });
  after(async () => {
    client.close();
    await cluster?.close();
  });

  it('writes on the primary, and says how far the database is with it', async () => {
    const answer = await client.post(primary, '/keys/a?value=1');
    assert.deepEqual(answer.json(), { changes: 1 });
    const [cookie] = answer.headers['set-cookie'] ?? [];
    assert.match(
      cookie,
      /^__txid=[0-9a-f]{16}\.1\.[0-9a-z]{8}\.[\w-]{22}; Path=\/; Expires=.* GMT; Max-Age=300; HttpOnly; SameSite=Lax$/,
    );
    const txid = String(answer.headers['litefs-txid']);
    assert.equal(cookie.slice(7, 23), txid);
    assert.equal(answer.headers['litefs-role'], 'primary');
    assert.equal(answer.headers['litefs-node'], 'box-primary');
    assert.equal(answer.headers['litefs-lag-ms'], undefined);
    assert.equal((await cluster.primary.node.position('app.db')).split('/')[0], txid);
  });

  it('reads on the replica what the same client has written', async () => {
    for (let i = 0; i < 50; i++) {
      await client.post(primary, `/keys/b?value=${i}`);
      const answer = await client.fetch(replica, '/keys/b');
      assert.deepEqual(answer.json(), { value: `${i}` });
      assert.equal(answer.headers['litefs-role'], 'replica');
      assert.match(String(answer.headers['litefs-txid']), TXID);
      assert.match(String(answer.headers['litefs-lag-ms']), /^\d+$/);
      assert.equal(answer.headers['set-cookie'], undefined);
    }
  });

  it('sends a write from the replica to the primary, cookie and all', async () => {
    const other = new WebClient();
    const written = await other.post(replica, '/keys/c?value=1');
    assert.equal(written.status, 200, written.text);
    assert.equal(written.headers['litefs-role'], 'primary');
    assert.match(other.cookies.get('__txid')?.slice(0, 16) ?? '', TXID);
    const read = await other.fetch(replica, '/keys/c');
    assert.deepEqual(read.json(), { value: '1' });
    assert.equal(read.headers['litefs-role'], 'replica');
    other.close();
  });

  it('sends paths of always-forward to the primary, and leaves those of passthrough alone', async () => {
    const forwarded = await client.fetch(replica, '/keys/forwarded?x=1');
    assert.equal(forwarded.headers['litefs-role'], 'primary');
    const passed = await client.post(replica, '/echo/logo.png?a=b');
    assert.equal(passed.headers['litefs-role'], undefined);
    assert.equal(passed.headers['set-cookie'], undefined);
    assert.equal(passed.json().url, '/echo/logo.png?a=b');
  });

  it('tells the application who asks, and keeps the headers of one hop to itself', async () => {
    const headers = {
      host: 'shop.example',
      'x-forwarded-for': '203.0.113.9',
      'x-forwarded-proto': 'https',
      'x-mine': 'yes',
      connection: 'keep-alive, x-hop',
      'x-hop': 'drop me',
      te: 'trailers, gzip',
      'litefs-role': 'primary',
    };
    const seen = async (port: number, method: string) => {
      const answer = await client.fetch(port, '/echo', { method, headers });
      const raw = answer.json().headers as string[];
      const pairs = raw.flatMap((name, i) =>
        i % 2 === 0 ? [[name.toLowerCase(), raw[i + 1]] as const] : [],
      );
      return new Map(pairs);
    };
    const direct = await seen(primary, 'GET');
    assert.equal(direct.get('host'), 'shop.example');
    assert.equal(direct.get('x-forwarded-host'), 'shop.example');
    assert.equal(direct.get('x-forwarded-proto'), 'https');
    assert.equal(direct.get('x-forwarded-for'), '203.0.113.9, 127.0.0.1');
    assert.equal(direct.get('x-mine'), 'yes');
    assert.equal(direct.get('te'), 'trailers');
    for (const gone of ['x-hop', 'litefs-role']) assert.equal(direct.get(gone), undefined);
    const through = await seen(replica, 'POST');
    assert.equal(through.get('host'), 'shop.example');
    assert.equal(through.get('x-forwarded-for'), '203.0.113.9, 127.0.0.1, 127.0.0.1');
    assert.equal(through.get('litefs-forwarded-by'), undefined);
  });

  it('streams bodies of both kinds of framing, untouched', async () => {
    const body = randomBytes(20 * 2 ** 20);
    const sha256 = createHash('sha256').update(body).digest('hex');
    for (const port of [primary, replica]) {
      const sized = await client.fetch(port, '/echo', { method: 'PUT', body });
      assert.deepEqual([sized.json().bytes, sized.json().sha256], [body.length, sha256]);
      const chunked = await client.fetch(port, '/echo', {
        method: 'PUT',
        body,
        headers: { 'transfer-encoding': 'chunked' },
      });
      assert.deepEqual([chunked.json().bytes, chunked.json().sha256], [body.length, sha256]);
      const download = await client.fetch(port, '/bytes/30000000');
      assert.equal(download.body.length, 30_000_000);
    }
  });

  it('passes trailers in both directions', async () => {
    for (const port of [primary, replica]) {
      const answer = await client.fetch(port, '/trailers');
      assert.deepEqual({ ...answer.trailers }, { 'x-sum': '42' });
      assert.equal(answer.text, 'body');
    }
  });

  it('lets the application say whether it wants a body (100-continue)', async () => {
    const request = http.request({
      host: '127.0.0.1',
      port: replica,
      path: '/echo',
      method: 'POST',
      headers: { expect: '100-continue', 'content-length': 5 },
    });
    request.flushHeaders();
    await once(request, 'continue');
    request.end('hello');
    const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
    answer.setEncoding('utf8');
    const text = (await answer.toArray()).join('');
    assert.equal(JSON.parse(text).bytes, 5);
  });

  it('passes Server-Sent Events on as they come', async () => {
    const request = http.get({ host: '127.0.0.1', port: replica, path: '/ticks' });
    const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
    let text = '';
    answer.on('data', (chunk) => (text += chunk));
    answer.on('error', () => {});
    await until('the first event', () => text === 'data: first\n\n');
    await client.fetch(replica, '/tick');
    await until('the next event', () => text === 'data: first\n\ndata: next\n\n');
    request.destroy();
    await until('the application sees that its reader has gone', async () => {
      return (await client.fetch(replica, '/tick')).json().readers === 0;
    });
  });

  it('passes on what a connection becomes, or that it does not', async () => {
    for (const port of [primary, replica]) {
      const [answer, socket] = await upgrade(port, 'echo');
      assert.equal(answer.headers['x-app'], port === primary ? 'primary' : 'replica');
      const bytes = randomBytes(2 ** 20);
      let back = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => (back = Buffer.concat([back, chunk])));
      socket.write(bytes);
      await until('all of it comes back', () => back.length === bytes.length);
      assert(back.equals(bytes));
      socket.end();
      await once(socket, 'close');
    }
    await assert.rejects(upgrade(primary, 'nonsense'), /answered with 400/);
  });

  it('cuts an answer off that the application cuts off', async () => {
    await assert.rejects(client.fetch(replica, '/hang'), /aborted|ECONNRESET|hang up/);
    assert.equal((await client.fetch(replica, '/bytes/1')).text, 'x');
  });

  it('ends the request of an upload that the client gives up', async () => {
    const socket = net.connect(replica, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin');
    await cluster.replica.node.info();
    socket.destroy();
    assert.equal((await client.post(replica, '/echo', 'x')).json().bytes, 1);
  });

  it('replays at the primary what the application does not want to answer', async () => {
    const wish = encodeURIComponent('instance=box-primary');
    const got = await client.fetch(replica, `/replay?wish=${wish}`);
    assert.deepEqual(got.json(), { replayed: 'GET' });
    assert.equal(got.headers['fly-replay'], undefined);
    const elsewhere = await client.fetch(replica, '/replay?wish=elsewhere%3Dtrue');
    assert.deepEqual(elsewhere.json(), { replayed: 'GET' });
    const nowhere = await client.fetch(replica, '/replay?wish=instance%3Dunknown');
    assert.equal(nowhere.status, 502);
    assert.match(nowhere.text, /only the primary \(box-primary\)/);
    assert.equal(nowhere.headers['fly-replay'], undefined);
  });

  it('says that it is well, and as what', async () => {
    const [first, second] = await Promise.all(
      [primary, replica].map((port) => client.fetch(port, '/litefs/health')),
    );
    assert.deepEqual(first.json(), {
      status: 'ok',
      reasons: [],
      role: 'primary',
      node: 'box-primary',
      lagMs: 0,
    });
    assert.equal(second.status, 200);
    assert.equal(second.json().role, 'replica');
  });
});

describe('a proxy on a bad day', () => {
  let cluster: ProxiedCluster;
  let client: WebClient;
  let primary: number;
  let replica: number;
  let link: HeldLink;

  before(async () => {
    client = new WebClient();
    cluster = await ProxiedCluster.start({
      async link(port) {
        link = await heldLink(port);
        return link.port;
      },
      proxy: {
        'primary-redirect-timeout': '300ms',
        'read-your-writes-timeout': '200ms',
        'max-lag': '300ms',
      },
    });
    [primary, replica] = cluster.ports;
    await client.post(primary, '/keys/a?value=1');
    await client.fetch(replica, '/keys/a');
  });
  after(async () => {
    client?.close();
    link?.close();
    await cluster?.close();
  });

  it('waits for an application that is being started', async () => {
    await cluster.replica.stopApp();
    const answer = client.fetch(replica, '/bytes/3');
    await cluster.replica.startApp();
    assert.equal((await answer).text, 'xxx');
  });

  it('waits for a replica that is behind, then asks the primary', async () => {
    link.hold();
    await client.post(primary, '/keys/b?value=1');
    const startedMs = performance.now();
    const answer = await client.fetch(replica, '/keys/b');
    assert(performance.now() - startedMs >= 190);
    assert.equal(answer.headers['litefs-role'], 'primary');
    assert.deepEqual(answer.json(), { value: '1' });
    link.release();
    await until('the replica has it', async () => {
      return (await client.fetch(replica, '/keys/b')).headers['litefs-role'] === 'replica';
    });
  });

  it('answers reads, not writes, while the primary is gone', async () => {
    // The application has the database open: it goes first.
    await cluster.primary.stopApp();
    await cluster.primary.node.stop();
    const refused = await client.post(replica, '/keys/a?value=2');
    assert.equal(refused.status, 503);
    assert.equal(refused.headers['retry-after'], '1');
    assert.match(refused.text, /^the primary's proxy at http:\/\/127\.0\.0\.1:\d+ does not answer/);
    assert.deepEqual((await client.fetch(replica, '/keys/a')).json(), { value: '1' });
    let health = await client.fetch(replica, '/litefs/health');
    await until(
      () => health.text,
      async () => {
        health = await client.fetch(replica, '/litefs/health');
        return health.status === 503;
      },
    );
    assert.equal(health.json().status, 'unhealthy');
    assert(health.json().reasons.length > 0);
  });

  it('is as before when the primary is back', async () => {
    await cluster.primary.node.start();
    await cluster.primary.startApp();
    await until('the replica is well', async () => {
      return (await client.fetch(replica, '/litefs/health')).status === 200;
    });
    await until('writes work', async () => {
      return (await client.post(replica, '/keys/a?value=3')).status === 200;
    });
    assert.deepEqual((await client.fetch(replica, '/keys/a')).json(), { value: '3' });
  });

  it('says which application does not answer', async () => {
    await cluster.replica.stopApp();
    const answer = await client.fetch(replica, '/keys/a');
    assert.equal(answer.status, 502);
    assert.match(answer.text, /^the application at 127\.0\.0\.1:\d+ does not answer/);
  });
});

describe('a proxy that forwards nothing by itself', () => {
  it('redirects writes, or leaves them to Fly.io, and refuses to read what is too old', async () => {
    const client = new WebClient();
    for (const [onWrite, status, header, value] of [
      ['redirect', 307, 'location', /^http:\/\/shop\.example:81\/app\/keys\/a\?value=1$/],
      ['fly-replay', 409, 'fly-replay', /^instance=box-primary$/],
    ] as const) {
      let link: HeldLink | undefined;
      const cluster = await ProxiedCluster.start({
        async link(port) {
          link = await heldLink(port);
          return link.port;
        },
        proxy: {
          advertise: 'http://shop.example:81/app/',
          'on-write': onWrite,
          'on-stale': '504',
          'read-your-writes-timeout': '50ms',
          'response-headers': false,
          websocket: 'primary',
        },
        skipApps: true,
      });
      try {
        const answer = await client.post(cluster.replica.port, '/keys/a?value=1');
        assert.equal(answer.status, status, answer.text);
        assert.match(String(answer.headers[header]), value);
        assert.equal(answer.headers['litefs-role'], undefined);
        link?.hold();
        await cluster.primary.startApp();
        assert.equal((await client.post(cluster.primary.port, '/keys/a?value=1')).status, 200);
        const stale = await client.fetch(cluster.replica.port, '/keys/a');
        assert.equal(stale.status, 504);
        client.cookies.clear();
        const expected = onWrite === 'redirect' ? /answered with 307/ : /answered with 409/;
        await assert.rejects(upgrade(cluster.replica.port, 'websocket'), expected);
      } finally {
        link?.close();
        await cluster.close();
      }
    }
    client.close();
  });
});

function upgrade(port: number, protocol: string): Promise<[http.IncomingMessage, net.Socket]> {
  const headers = { connection: 'Upgrade', upgrade: protocol };
  const request = http.get({ host: '127.0.0.1', port, path: '/', headers });
  return new Promise((resolve, reject) => {
    request.on('upgrade', (answer, socket) => resolve([answer, socket as net.Socket]));
    request.on('response', (answer) => {
      answer.resume();
      reject(new Error(`answered with ${answer.statusCode}`));
    });
    request.on('error', reject);
  });
}
