/** Bodies of requests: held back by the client until it is asked, and not wanted by the application. */
import assert from 'node:assert/strict';
import { type EventEmitter, once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, it } from 'node:test';
import { withProxy } from './stand.ts';

/** An application that speaks HTTP/1.0: it waits for five bytes of body, and has never heard of Expect. */
function oldApp(): net.Server {
  return net.createServer((socket) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      const body = /\r\n\r\n(.*)$/s.exec(text)?.[1] ?? '';
      if (body.length === 5) socket.end(`HTTP/1.0 200 OK\r\n\r\ngot ${body}`);
    });
  });
}

/** A request with `Expect: 100-continue`, of which the head has been sent. */
function held(port: number): http.ClientRequest {
  const headers = { expect: '100-continue', 'content-length': 5 };
  const options = { host: '127.0.0.1', port, method: 'POST', headers, agent: false } as const;
  const request = http.request(options);
  request.on('error', () => {});
  request.flushHeaders();
  return request;
}

/** Rejects when it does not come. */
function soon(emitter: EventEmitter, event: string): Promise<unknown[]> {
  return once(emitter, event, { signal: AbortSignal.timeout(10_000) });
}

async function answerTo(request: http.ClientRequest): Promise<[number | undefined, string]> {
  const [answer] = (await soon(request, 'response')) as [http.IncomingMessage];
  answer.setEncoding('utf8');
  return [answer.statusCode, (await answer.toArray()).join('')];
}

describe('a body that the client holds back', () => {
  it('is asked for when the application waits for it without asking', async () => {
    await withProxy(oldApp(), async (port) => {
      const request = held(port);
      await soon(request, 'continue');
      request.end('hello');
      assert.deepEqual(await answerTo(request), [200, 'got hello']);
    });
  });

  it('is passed on when it comes before it is asked for', async () => {
    await withProxy(oldApp(), async (port) => {
      const request = held(port);
      let asked = false;
      request.on('continue', () => (asked = true));
      request.end('hello');
      assert.deepEqual(await answerTo(request), [200, 'got hello']);
      assert(!asked);
    });
  });

  it('is not asked for when the application does not want it', async () => {
    const app = http.createServer();
    app.on('checkContinue', (_, response: http.ServerResponse) =>
      response.writeHead(417).end('no'),
    );
    await withProxy(app, async (port) => {
      const request = held(port);
      request.on('continue', () => assert.fail('it was asked for'));
      assert.deepEqual(await answerTo(request), [417, 'no']);
    });
  });
});
