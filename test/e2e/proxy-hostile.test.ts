/** What strangers send to the proxy: nothing of it makes it fall over, grow, or send a request where it does not belong. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { until } from '../harness/cluster.ts';
import { ProxiedCluster } from '../harness/proxied.ts';
import { exchange } from '../harness/raw-http.ts';
import { WebClient } from '../harness/web-client.ts';

const IDLE_CONNECTIONS = 10_000;
const IDLE_BYTES_MAX = 400 * 2 ** 20;

describe('a proxy among strangers', () => {
  let cluster: ProxiedCluster;
  let primary: number;
  let replica: number;
  const client = new WebClient();

  before(async () => {
    cluster = await ProxiedCluster.start({
      proxy: { 'read-header-timeout': '500ms', 'max-connections-per-address': 10_000 },
    });
    [primary, replica] = cluster.ports;
    await client.post(primary, '/keys/a?value=1');
  });
  after(async () => {
    client.close();
    await cluster?.close();
  });

  const isWell = async () => {
    for (const port of cluster.ports) {
      const answer = await client.fetch(port, '/bytes/10');
      assert.equal(answer.text, 'x'.repeat(10));
    }
  };

  it('refuses requests whose end is not certain, and sends nothing of them on', async () => {
    const smuggled = 'GET /keys/smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
    const post = 'POST /echo HTTP/1.1\r\nHost: a\r\n';
    for (const [what, text] of [
      [
        'both framings',
        `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      ],
      ['two lengths', `${post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello${smuggled}`],
      ['a list of lengths', `${post}Content-Length: 5, 5\r\n\r\nhello${smuggled}`],
      ['a signed length', `${post}Content-Length: +5\r\n\r\nhello${smuggled}`],
      ['an unknown coding', `${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`],
      ['chunked not last', `${post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n${smuggled}`],
      ['a space before the colon', `${post}Content-Length : 5\r\n\r\nhello${smuggled}`],
      ['a folded header', `${post}X-A: 1\r\n Content-Length: 5\r\n\r\nhello${smuggled}`],
      ['a bare line feed', `${post}X-A: 1\nContent-Length: 5\r\n\r\nhello${smuggled}`],
      ['a zero byte', `${post}X-A: a\0b\r\nContent-Length: 5\r\n\r\nhello${smuggled}`],
      ['a chunk size that is none', `${post}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n`],
    ] as const) {
      const answer = await exchange(primary, text);
      assert.match(answer, /^HTTP\/1\.1 400 /, `${what}: ${answer.slice(0, 200)}`);
      assert.doesNotMatch(answer, /"value"/, what);
    }
    await isWell();
  });

  it('takes what follows a request that is refused for no request', async () => {
    // The primary is unknown to be reached by this one; the body that comes after the answer is dropped.
    const headers = 'Host: a\r\nContent-Length: 1000\r\nlitefs-forwarded-by: somebody\r\n';
    const answer = await exchange(
      replica,
      `POST /echo HTTP/1.1\r\n${headers}\r\nGET /keys/a HTTP/1.1\r\nHost: a\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 508 /);
    assert.match(answer, /connection: close/i);
    assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1);
  });

  it('refuses headers that are too large', async () => {
    const large = `GET / HTTP/1.1\r\nHost: a\r\nX-Large: ${'a'.repeat(100_000)}\r\n\r\n`;
    assert.match(await exchange(primary, large), /^HTTP\/1\.1 431 /);
    await isWell();
  });

  it('ends connections whose headers take too long', async () => {
    const started = performance.now();
    const answer = await exchange(primary, 'GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ');
    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert(performance.now() - started < 10_000);
  });

  it('believes no cookie that it has not made', async () => {
    for (const value of [
      'zzzz',
      'ffffffffffffffff',
      '-000000000000001',
      '0x00000000000001',
      `${'0'.repeat(16)}%0d%0aSet-Cookie: a=b`,
      'app.db:00000000000000ff&'.repeat(500),
      '__proto__:0000000000000001',
    ]) {
      const answer = await client.fetch(primary, '/keys/a', {
        headers: { cookie: `__txid=${value}` },
      });
      assert.equal(answer.status, 200, value);
      assert.equal(answer.headers['set-cookie'], undefined, value);
    }
  });

  it('cannot be made to send a client to another host', async () => {
    for (const target of ['//evil.example/x', 'http://evil.example/x', '/\\evil.example']) {
      const answer = await exchange(
        replica,
        `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      );
      assert.doesNotMatch(answer, /location:/i);
      assert.match(answer, /litefs-role: replica/, target);
    }
  });

  it('lets go of uploads that are given up', async () => {
    for (const port of cluster.ports) {
      const sockets = Array.from({ length: 50 }, () => {
        const socket = net.connect(port, '127.0.0.1');
        socket.write('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n');
        socket.write(Buffer.alloc(100_000));
        return socket;
      });
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      await isWell();
      for (const socket of sockets) socket.resetAndDestroy();
    }
    await isWell();
  });

  it(`bears ${IDLE_CONNECTIONS} idle connections`, async (t) => {
    const { node } = cluster.replica;
    const sockets: net.Socket[] = [];
    try {
      for (let i = 0; i < IDLE_CONNECTIONS; i++) {
        const socket = net.connect({
          port: replica,
          host: '127.0.0.1',
          localAddress: `127.0.0.${2 + (i % 4)}`,
        });
        socket.on('error', () => {}).resume();
        sockets.push(socket);
        if (i % 500 === 499) await isWell();
      }
      await isWell();
      t.diagnostic(`${node.residentBytes() >> 20} MiB with all of them`);
      assert(
        node.residentBytes() < IDLE_BYTES_MAX,
        `${node.residentBytes() >> 20} MiB with all of them`,
      );
      // None has sent a header.
      await until('they are closed', () => sockets.every(({ destroyed }) => destroyed));
    } finally {
      for (const socket of sockets) socket.destroy();
    }
    await isWell();
  });
});
