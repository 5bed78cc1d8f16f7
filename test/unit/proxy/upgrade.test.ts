/** Requests that offer another protocol: most are requests as any other. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, it, mock } from 'node:test';
import type { Answered } from '../../../src/proxy/server.ts';
import { type Got, get, type StandOptions, withProxy } from './stand.ts';

const H2C = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMA' };

/** The answer to five bytes with these headers. */
function post(port: number, headers: http.OutgoingHttpHeaders): Promise<Got> {
  return get(port, '/', { method: 'POST', headers }, 'hello');
}

const counts: http.RequestListener = (request, response) => {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => (bytes += chunk.length));
  request.on('end', () => response.end(`got ${bytes}`));
};

describe('a request that offers another protocol', () => {
  for (const [what, headers] of [
    ['HTTP/2, as curl --http2 does', { ...H2C, 'content-length': 5 }],
    ['HTTP/2, with a body in chunks', { ...H2C, 'transfer-encoding': 'chunked' }],
    ['a WebSocket', { connection: 'Upgrade', upgrade: 'websocket', 'content-length': 5 }],
  ] as const) {
    it(`keeps its body: ${what}`, async () => {
      await withProxy(counts, async (port) => {
        const { status, text, headers: answer } = await post(port, headers);
        assert.deepEqual([status, text, answer['litefs-role']], [200, 'got 5', 'primary']);
      });
    });
  }

  it('is answered as any other when that is HTTP/2', async () => {
    await withProxy(counts, async (port) => {
      const { text, headers } = await get(port, '/', { headers: H2C });
      assert.deepEqual([text, headers['litefs-node']], ['got 0', 'box']);
    });
  });

  it('gets the headers of its answer byte for byte', async () => {
    const app = net.createServer((socket) => {
      const head = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp';
      socket.once('data', () => socket.end(`${head}\r\nX-City: K\xf6ln\r\n\r\n`, 'latin1'));
    });
    await withProxy(app, async (port) => {
      const headers = { connection: 'Upgrade', upgrade: 'tcp' };
      const request = http.get({ host: '127.0.0.1', port, headers, agent: false });
      const signal = AbortSignal.timeout(10_000);
      const [answer, socket] = await once(request, 'upgrade', { signal });
      socket.destroy();
      assert.equal(answer.headers['x-city'], 'K\xf6ln');
    });
  });

  it('is cut off with an answer that the application cuts off', async () => {
    const app: http.RequestListener = (request, response) => {
      response.write('half', () => request.socket.destroy());
    };
    await withProxy(app, async (port) => {
      const socket = net.connect(port, '127.0.0.1');
      const failed = once(socket, 'error', { signal: AbortSignal.timeout(10_000) });
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
      let text = '';
      socket.on('data', (chunk) => (text += chunk));
      // A reset: there is no length by which the client could tell.
      const [error] = (await failed.catch(() => [undefined])) as [NodeJS.ErrnoException?];
      socket.destroy();
      assert.equal(error?.code, 'ECONNRESET');
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
    });
  });

  it('gets the last of it, however slowly it reads', async () => {
    const bytes = 1000;
    const app = net.createServer((socket) => {
      const head = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp';
      socket.once('data', () => socket.end(`${head}\r\n\r\n${'x'.repeat(bytes)}`));
    });
    // What is written to the client stays in the proxy until the application has gone.
    const held: (() => void)[] = [];
    let isHeld = true;
    const { _write: write } = net.Socket.prototype;
    const hold = mock.method(
      net.Socket.prototype,
      '_write',
      function (this: net.Socket, ...args: Parameters<typeof write>) {
        const go = () => write.apply(this, args);
        if (isHeld && this.localPort === proxyPort) held.push(go);
        else go();
      },
    );
    let proxyPort = 0;
    try {
      await withProxy(app, async (port) => {
        proxyPort = port;
        const left = Promise.withResolvers<void>();
        app.on('connection', (socket) => socket.on('close', () => left.resolve()));
        const socket = net.connect(port, '127.0.0.1');
        let text = '';
        socket.on('data', (chunk) => (text += chunk));
        const closed = once(socket, 'close', { signal: AbortSignal.timeout(10_000) });
        socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
        await left.promise;
        for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
        isHeld = false;
        for (const go of held) go();
        await closed;
        assert.match(text, new RegExp(`\r\n\r\nx{${bytes}}$`));
      });
    } finally {
      hold.mock.restore();
    }
  });
});

describe('a request for another protocol that is refused', () => {
  const app: http.RequestListener = (_, response) => response.end();
  const stale = {
    facts: { isPrimary: false, primaryHostname: 'first' },
    settings: { websocket: 'primary' },
  } as const;
  const closes = net.createServer((socket) => socket.once('data', () => socket.destroy()));
  const cases: [string, http.RequestListener | net.Server, StandOptions, number, RegExp][] = [
    ['that the primary is not known', app, stale, 503, /does not know where the proxy of first is/],
    [
      'that the primary has no plain HTTP',
      app,
      { ...stale, facts: { ...stale.facts, primaryUrl: 'https://first/' } },
      502,
      /forwards to http:\/\/ only/,
    ],
    [
      "that the primary's proxy is not there",
      app,
      { ...stale, facts: { ...stale.facts, primaryUrl: 'http://127.0.0.1:1/' } },
      503,
      /the primary's proxy at http:\/\/127\.0\.0\.1:1\/ does not answer/,
    ],
    ['that the application closes', closes, {}, 502, /the application at .* does not answer/],
    [
      'a failure of the proxy',
      app,
      { node: { facts: () => assert.fail('no facts') } },
      500,
      /the proxy failed: no facts/,
    ],
  ];
  for (const [why, target, options, status, reason] of cases) {
    it(`gets what a plain one gets: ${why}`, async () => {
      const told: Answered[] = [];
      const answered = (answer: Answered) => told.push(answer);
      await withProxy(
        target,
        async (port) => {
          const upgrade = { connection: 'Upgrade', upgrade: 'websocket' };
          const wish = await get(port, '/', { headers: upgrade });
          const plain = await get(port, '/', { method: 'POST' });
          assert.deepEqual([wish.status, wish.text], [plain.status, plain.text]);
          assert.equal(wish.status, status);
          assert.match(wish.text, reason);
          for (const name of ['retry-after', 'litefs-node', 'cache-control', 'content-type']) {
            assert.equal(wish.headers[name], plain.headers[name], name);
          }
        },
        { ...options, answered },
      );
      assert.deepEqual(
        told.map(({ way, status }) => [way, status]),
        [
          [told[1]?.way, status],
          [told[1]?.way, status],
        ],
      );
    });
  }
});
