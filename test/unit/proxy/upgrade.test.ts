/** Requests that offer another protocol: most are requests as any other. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, it } from 'node:test';
import { type Got, get, withProxy } from './stand.ts';

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
});
