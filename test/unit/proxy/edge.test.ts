/** What a proxy tells the next hop, and the client, beside what the other side has said. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type http from 'node:http';
import net from 'node:net';
import { describe, it } from 'node:test';
import type { NodeFacts } from '../../../src/proxy/decide.ts';
import { get, type StandOptions, withProxy } from './stand.ts';

const SECRET = '0123456789abcdef0123456789abcdef';
const echo: http.RequestListener = (request, response) =>
  response.end(JSON.stringify(request.headers));

/** A replica's proxy before a primary's, before an application: the port of the replica's. */
async function withBoth(
  app: http.RequestListener,
  body: (port: number) => Promise<void>,
  settings: { replica?: StandOptions['settings']; primary?: StandOptions['settings'] } = {},
): Promise<void> {
  const both = async (primaryPort: number) => {
    const facts: Partial<NodeFacts> = {
      isPrimary: false,
      hostname: 'box2',
      primaryHostname: 'box',
      primaryUrl: `http://127.0.0.1:${primaryPort}`,
    };
    await withProxy(echo, body, { facts, settings: settings.replica });
  };
  await withProxy(app, both, { settings: settings.primary });
}

describe('the address of a client', () => {
  const CLIENT = '127.0.0.77';
  const post = async (port: number, headers: http.OutgoingHttpHeaders = {}) => {
    const { text } = await get(port, '/', { method: 'POST', localAddress: CLIENT, headers });
    return JSON.parse(text)['x-forwarded-for'];
  };

  it('comes to the primary through a replica that knows the secret', async () => {
    const settings = { replica: { secret: SECRET }, primary: { secret: SECRET } };
    await withBoth(
      echo,
      async (port) => {
        assert.equal(await post(port), `${CLIENT}, 127.0.0.1`);
        assert.equal(await post(port, { 'x-forwarded-for': '6.6.6.6' }), `${CLIENT}, 127.0.0.1`);
      },
      settings,
    );
  });

  it('comes through no node that knows another, or none', async () => {
    for (const [replica, primary] of [
      ['x'.repeat(32), SECRET],
      [undefined, SECRET],
      [SECRET, undefined],
      [undefined, undefined],
    ]) {
      await withBoth(echo, async (port) => assert.equal(await post(port), '127.0.0.1'), {
        replica: { secret: replica },
        primary: { secret: primary },
      });
    }
  });

  it('comes through a node that is trusted by its address', async () => {
    const trusted = [{ address: '127.0.0.1', prefix: 32 }];
    await withBoth(echo, async (port) => assert.equal(await post(port), `${CLIENT}, 127.0.0.1`), {
      primary: { trusted },
    });
  });

  it('is written as IPv4 where the proxy listens on IPv6', async () => {
    const settings = { addr: { host: '::', port: 0 } };
    await withProxy(
      echo,
      async (port) => {
        const { text } = await get(port, '/');
        assert.equal(JSON.parse(text)['x-forwarded-for'], '127.0.0.1');
      },
      { settings },
    );
  });
});

describe('a target that leads back', () => {
  it('is found after one round, also for another protocol', async () => {
    const back = net.createServer((near) => {
      const far = net.connect(proxyPort, '127.0.0.1');
      for (const socket of [near, far]) socket.on('error', () => {});
      near.pipe(far).pipe(near);
      near.on('close', () => far.destroy());
    });
    let proxyPort = 0;
    await withProxy(back, async (port) => {
      proxyPort = port;
      const plain = await get(port, '/');
      assert.equal(plain.status, 508);
      assert.match(plain.text, /has passed box before: proxy\.target/);
      const headers = { connection: 'Upgrade', upgrade: 'websocket' };
      assert.equal((await get(port, '/', { headers })).status, 508);
    });
  });
});

describe('early hints', () => {
  const LINKS = ['</a.css>; rel=preload; as=style', '</b.js>; rel=preload'];
  const app: http.RequestListener = (_, response) => {
    response.writeInformation(102, {});
    response.writeInformation(103, ['Link', LINKS[0], 'Link', LINKS[1], 'X-Other', 'no']);
    response.writeInformation(103, { 'X-Only': 'no' });
    response.end('well');
  };

  /** What comes before the answer, and the answer. */
  async function hinted(port: number, version: string): Promise<string> {
    const socket = net.connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString('latin1')));
    socket.write(
      `POST / HTTP/${version}\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    );
    await once(socket, 'close');
    return text;
  }

  it('come through both proxies, with their links alone', async () => {
    await withBoth(app, async (port) => {
      const text = await hinted(port, '1.1');
      assert.match(
        text,
        /^HTTP\/1\.1 103 Early Hints\r\nlink: .*a\.css[\s\S]*b\.js[\s\S]*\r\n\r\nHTTP\/1\.1 200 /i,
      );
      assert.equal(text.match(/HTTP\/1\.1/g)?.length, 2);
      assert.doesNotMatch(text, /x-o/i);
    });
  });

  it('are eight at most', async () => {
    const wordy: http.RequestListener = (_, response) => {
      for (let i = 0; i < 20; i++) response.writeInformation(103, { Link: LINKS[0] });
      response.end('well');
    };
    await withBoth(wordy, async (port) => {
      const text = await hinted(port, '1.1');
      assert.equal(text.match(/103 Early Hints/g)?.length, 8);
      assert.match(text, /200 OK[\s\S]*well/);
    });
  });

  it('do not come to who speaks HTTP/1.0', async () => {
    await withBoth(app, async (port) => {
      assert.match(await hinted(port, '1.0'), /^HTTP\/1\.1 200 /);
    });
  });
});

describe("an application's own cookie __txid", () => {
  const app: http.RequestListener = (_, response) => {
    response.setHeader('Set-Cookie', ['a=b', '__txid=mine; Path=/shop']);
    response.end();
  };

  it("survives, and the operator is told of it; the proxy's is not set beside it", async () => {
    const warned: string[] = [];
    const txids = new Map([['app.db', 5]]);
    const node = {
      flush: async () => ({ txids, isCertain: true }),
      warn: (text: string) => warned.push(text),
    };
    await withProxy(
      app,
      async (port) => {
        const { headers } = await get(port, '/', { method: 'POST' });
        assert.deepEqual(headers['set-cookie'], ['a=b', '__txid=mine; Path=/shop']);
        assert.match(warned[0], /^the application sets a cookie __txid itself/);
      },
      { node },
    );
  });
});

describe('a cookie', () => {
  it('that the primary has set is waited for on a replica, as long as it may come', async () => {
    const waited: [string, number][] = [];
    const txids = new Map([['app.db', 5]]);
    const primary: StandOptions = {
      node: { flush: async () => ({ txids, isCertain: true }) },
      settings: { secret: SECRET },
    };
    const node: StandOptions['node'] = {
      async waitForTxids(wanted) {
        waited.push(...wanted);
        return false;
      },
    };
    let cookie = '';
    await withProxy(
      echo,
      async (port) => {
        const { headers } = await get(port, '/', { method: 'POST' });
        cookie = headers['set-cookie']?.[0].split(';')[0] ?? '';
      },
      primary,
    );
    assert.match(cookie, /^__txid=0000000000000005\./);
    const read = async (said: { term: number; atMs: number } | undefined, more = {}) => {
      waited.length = 0;
      const facts = { isPrimary: false, heard: () => ({ txids: new Map(), said }) };
      const settings = { secret: SECRET, onStale: '504' as const, ...more };
      let status = 0;
      const body = async (port: number) => {
        status = (await get(port, '/', { headers: { cookie } })).status;
      };
      await withProxy(echo, body, { facts, node, settings });
      return [status, ...waited];
    };
    assert.deepEqual(await read(undefined), [504, ['app.db', 5]]);
    assert.deepEqual(await read({ term: 1, atMs: Date.now() - 60_000 }), [504, ['app.db', 5]]);
    assert.deepEqual(await read({ term: 1, atMs: Date.now() + 60_000 }), [200]);
    assert.deepEqual(await read({ term: 2, atMs: 0 }), [200]);
    assert.deepEqual(await read(undefined, { secret: undefined }), [200]);
    assert.deepEqual(await read(undefined, { databases: ['other.db'] }), [200]);
  });
});

it('HTTP/1.0 without a Host comes to the application of the primary with one', async () => {
  await withBoth(echo, async (port) => {
    const socket = net.connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString('latin1')));
    socket.write('POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello');
    await once(socket, 'close');
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.match(text, /"host":"127\.0\.0\.1:\d+"/);
  });
});
