/** What one client, or all together, can take of a proxy. On baf9d2f there was no limit but that of a single body. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import type { NodeFacts } from '../../../src/proxy/decide.ts';
import { silentPrimary, silentTarget } from '../../../src/proxy/own-answer.ts';
import { Presence } from '../../../src/proxy/presence.ts';
import { Upstream } from '../../../src/proxy/upstream.ts';
import { until } from '../../harness/cluster.ts';
import { get, type StandOptions, withProxy } from './stand.ts';

const well: http.RequestListener = (request, response) => {
  request.resume().on('end', () => response.end('well'));
};

/** Connections from an address of this machine that say nothing, and what they are told. */
class Crowd {
  readonly sockets: net.Socket[] = [];
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  async connect(localAddress: string, text = ''): Promise<net.Socket> {
    const socket = net.connect({ port: this.#port, host: '127.0.0.1', localAddress });
    socket.on('error', () => {});
    this.sockets.push(socket);
    await once(socket, 'connect');
    socket.write(text);
    return socket;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
  }
}

/** All that comes back until the connection is closed. */
async function whole(socket: net.Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString('latin1')));
  if (!socket.closed) await once(socket, 'close');
  return text;
}

async function withCrowd(
  options: StandOptions,
  body: (crowd: Crowd, port: number) => Promise<void>,
  app: http.RequestListener | net.Server = well,
): Promise<void> {
  const run = async (port: number) => {
    const crowd = new Crowd(port);
    try {
      await body(crowd, port);
    } finally {
      crowd.close();
    }
  };
  await withProxy(app, run, options);
}

const ASK = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

describe('connections', () => {
  it('of one address are so many; the next is told so, and others are let in', async () => {
    const warned: string[] = [];
    const options = {
      settings: { connectionsPerAddressMax: 3 },
      node: { warn: (text: string) => warned.push(text) },
    };
    await withCrowd(options, async (crowd, port) => {
      for (let i = 0; i < 3; i++) await crowd.connect('127.0.0.2');
      const refused = await whole(await crowd.connect('127.0.0.2', ASK));
      assert.match(refused, /^HTTP\/1\.1 503 [\s\S]*Retry-After/);
      assert.match(warned[0], /turns connections away: one address has 3/);
      assert.equal((await get(port, '/')).text, 'well');
      crowd.sockets[0].destroy();
      await until('there is room again', async () => {
        return /200 OK/.test(await whole(await crowd.connect('127.0.0.2', ASK)));
      });
    });
  });

  it('in all are so many, from wherever', async () => {
    await withCrowd({ settings: { connectionsMax: 3 } }, async (crowd) => {
      for (let i = 0; i < 3; i++) await crowd.connect(`127.0.0.${2 + i}`);
      assert.match(await whole(await crowd.connect('127.0.0.9', ASK)), /^HTTP\/1\.1 503 /);
    });
  });

  it('of trusted proxies and of nodes are those of many', async () => {
    const options = {
      settings: {
        connectionsPerAddressMax: 1,
        trusted: [{ address: '127.0.0.2', prefix: 32 }],
      },
      node: { isPeer: (address: string) => address === '127.0.0.3' },
    };
    await withCrowd(options, async (crowd) => {
      for (const address of ['127.0.0.2', '127.0.0.3']) {
        for (let i = 0; i < 5; i++) await crowd.connect(address);
        assert.match(await whole(await crowd.connect(address, ASK)), /200 OK/);
      }
    });
  });

  it('are turned away when descriptors are short, and requests with them', async () => {
    // Those that this process has already are as many as all that it may have.
    await withCrowd({ settings: { descriptorsMax: 8 } }, async (crowd) => {
      assert.match(await whole(await crowd.connect('127.0.0.1', ASK)), /^HTTP\/1\.1 503 /);
    });
  });

  it('to the application are given up when descriptors are short, and that is 503', async () => {
    const server = net.createServer((socket) => socket.on('error', () => {})).listen(0);
    await once(server, 'listening');
    const origin = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
    const head = { method: 'GET', path: '/', headers: ['Host', 'a'] };
    const options = { retryMs: 0, fresh: true, client: new Presence() };
    const upstream = new Upstream(origin, 3);
    try {
      const error = await upstream.open(head, options).then(
        () => assert.fail('it has a connection'),
        (reason) => reason,
      );
      assert.equal(silentTarget(origin, error).status, 503);
      assert.equal(silentPrimary('http://box1', error).status, 503);
      const connections = () =>
        new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
      await until('it is closed', async () => (await connections()) === 0);
    } finally {
      upstream.close();
      server.close();
    }
  });
});

describe('a body that does not move', () => {
  const settings = { progressMs: 200 };

  it('ends its request', async () => {
    const half = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf';
    await withCrowd({ settings }, async (crowd) => {
      const answer = await whole(await crowd.connect('127.0.0.1', half));
      assert.match(answer, /^HTTP\/1\.1 408 [\s\S]*connection: close[\s\S]*progress-timeout/i);
    });
  });

  it('ends its connection when the answer has come before it', async () => {
    const half = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf';
    const early: http.RequestListener = (_, response) => response.end('early');
    await withCrowd(
      { settings },
      async (crowd) => {
        assert.match(await whole(await crowd.connect('127.0.0.1', half)), /early/);
      },
      early,
    );
  });

  it('of an answer ends its connection, and the one to the application', async () => {
    let closed = 0;
    const endless: http.RequestListener = (_, response) => {
      const more = () => {
        while (response.write(Buffer.alloc(65_536)));
      };
      response.on('drain', more).on('close', () => closed++);
      more();
    };
    await withCrowd(
      { settings },
      async (crowd) => {
        const socket = await crowd.connect('127.0.0.1', ASK);
        socket.pause();
        await until('it is given up', () => closed === 1);
      },
      endless,
    );
  });
});

describe('bodies that are kept for a replay', () => {
  const facts = {
    isPrimary: false,
    primaryHostname: 'box1',
    primaryUrl: 'http://127.0.0.1:1',
  } satisfies Partial<NodeFacts>;
  const settings = { replayMemoryBytesMax: 100_000 };

  it('go on without being kept when others take all the memory', async () => {
    const got: number[] = [];
    const app: http.RequestListener = (request, response) => {
      const index = got.push(0) - 1;
      request.on('data', (chunk: Buffer) => (got[index] += chunk.length));
      request.on('end', () => {
        if (request.url === '/wish') response.setHeader('fly-replay', 'instance=box1');
        response.end('well');
      });
    };
    const body = (path: string, text: string) =>
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 80000\r\n\r\n${text}`;
    await withCrowd(
      { facts, settings },
      async (crowd) => {
        const first = await crowd.connect('127.0.0.1', body('/', 'x'.repeat(79_999)));
        await until('it is under way', () => got[0] === 79_999);
        const all = 'x'.repeat(80_000);
        const streamed = await whole(await crowd.connect('127.0.0.1', body('/', all)));
        assert.match(streamed, /200 OK[\s\S]*well/);
        assert.equal(got[1], 80_000);
        const wished = await whole(await crowd.connect('127.0.0.1', body('/wish', all)));
        assert.match(wished, /^HTTP\/1\.1 503 [\s\S]*replay-memory/);
        const ended = whole(first);
        first.write('x');
        assert.match(await ended, /200 OK/);
        // With the first one its memory has gone: the next is replayed, to where nobody listens.
        const next = await whole(await crowd.connect('127.0.0.1', body('/wish', all)));
        assert.match(next, /^HTTP\/1\.1 503 [\s\S]*the primary's proxy/);
      },
      app,
    );
  });
});
