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
function held(port: number, method = 'POST'): http.ClientRequest {
  const headers = { expect: '100-continue', 'content-length': 5, connection: 'keep-alive' };
  const options = { host: '127.0.0.1', port, method, headers, agent: false } as const;
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

describe('a body that the application does not want', () => {
  const bytes = 8 * 2 ** 20;
  const tooLarge = (connection: string) =>
    `HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: ${connection}\r\n\r\nno`;

  /** Uploads all of it, and asks for something else on the same connection: both statuses. */
  async function uploadAndGoOn(port: number): Promise<number[]> {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const options = { host: '127.0.0.1', port, agent };
    try {
      const upload = http.request({
        ...options,
        method: 'POST',
        headers: { 'content-length': bytes },
      });
      upload.end(Buffer.alloc(bytes));
      const [first] = await answerTo(upload);
      const [second] = await answerTo(http.get({ ...options, path: '/next' }));
      return [first ?? 0, second ?? 0];
    } finally {
      agent.destroy();
    }
  }

  it('does not hide its answer, though it closes the connection at once', async () => {
    // What it has not read makes the kernel reset the connection, while the proxy still writes to it.
    const app: http.RequestListener = ({ url }, response) => {
      if (url !== '/next') response.writeHead(413, { connection: 'close' });
      response.end('no');
    };
    await withProxy(app, async (port) => {
      for (let i = 0; i < 20; i++) assert.deepEqual(await uploadAndGoOn(port), [413, 200]);
    });
  });

  it('does not hold the client up when the application leaves it and the connection alone', async () => {
    const app = net.createServer((socket) => {
      socket.once('data', (head) => {
        const isNext = head.includes('/next');
        socket.pause();
        socket.write(isNext ? 'HTTP/1.1 204 Fine\r\n\r\n' : tooLarge('keep-alive'));
      });
    });
    await withProxy(app, async (port) => {
      assert.deepEqual(await uploadAndGoOn(port), [413, 204]);
    });
  });

  it('says so when the application closes without an answer', async () => {
    const app: http.RequestListener = ({ socket }) => socket.destroy();
    await withProxy(app, async (port) => {
      const request = http.request({ host: '127.0.0.1', port, method: 'POST', agent: false });
      request.setHeader('content-length', 5);
      request.end('hello');
      const [status, text] = await answerTo(request);
      assert.equal(status, 502);
      assert.match(text, /^the application at 127\.0\.0\.1:\d+ does not answer/);
    });
  });

  it('ends the connection of a client that still holds it back', async () => {
    await withProxy(
      net.createServer((socket) => socket.once('data', () => socket.end(tooLarge('close')))),
      async (port) => {
        const request = held(port);
        const [answer] = (await soon(request, 'response')) as [http.IncomingMessage];
        assert.equal(answer.statusCode, 413);
        assert.equal(answer.headers.connection, 'close');
        answer.resume();
        await soon(request, 'close');
      },
    );
  });

  it('is read to its end when the application wants another node to answer', async () => {
    const replica: http.RequestListener = (_, response) => {
      response.writeHead(200, { 'fly-replay': 'instance=box1', connection: 'close' }).end();
    };
    const body = Buffer.alloc(2 ** 20, 'x');
    const came = await replayed(http.createServer(replica), async (port) => {
      // Of methods that change nothing, the only ones that a replica's application gets.
      const upload = http.request({ host: '127.0.0.1', port, method: 'GET', agent: false });
      upload.setHeader('content-length', body.length);
      upload.end(body);
      assert.equal((await answerTo(upload))[0], 200);
    });
    assert(came.equals(body));
  });

  it('is asked for then, and sent once, though the application has not asked', async () => {
    const replica = http.createServer();
    replica.on('checkContinue', (_, response: http.ServerResponse) => {
      response.writeHead(200, { 'fly-replay': 'instance=box1' }).end();
    });
    const came = await replayed(replica, async (port) => {
      const upload = held(port, 'GET');
      await soon(upload, 'continue');
      upload.end('hello');
      assert.equal((await answerTo(upload))[0], 200);
    });
    assert.equal(`${came}`, 'hello');
  });

  /** What comes to the primary while `body` asks the proxy of a replica. */
  async function replayed(replica: http.Server, body: (port: number) => Promise<void>) {
    const came: Buffer[] = [];
    const primary: http.RequestListener = (request, response) => {
      request.on('data', (chunk: Buffer) => came.push(chunk));
      request.on('end', () => response.end());
    };
    await withProxy(primary, (primaryPort) => {
      const primaryUrl = `http://127.0.0.1:${primaryPort}`;
      const facts = { isPrimary: false, primaryHostname: 'box1', primaryUrl };
      return withProxy(replica, body, { facts });
    });
    return Buffer.concat(came);
  }
});

describe('a body in chunks', () => {
  it('keeps its trailers, but for those that only headers can be', async () => {
    const app: http.RequestListener = (request, response) => {
      request.resume().on('end', () => response.end(JSON.stringify(request.trailers)));
    };
    await withProxy(app, async (port) => {
      const request = http.request({ host: '127.0.0.1', port, method: 'POST', agent: false });
      request.setHeader('transfer-encoding', 'chunked');
      request.addTrailers({ 'x-sum': '42', host: 'b', 'litefs-role': 'primary' });
      request.end('hello');
      assert.deepEqual(await answerTo(request), [200, '{"x-sum":"42"}']);
    });
  });
});
