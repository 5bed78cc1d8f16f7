/** What is sent a second time when a kept connection breaks: reads, and nothing that could be a write. */
import assert from 'node:assert/strict';
import type http from 'node:http';
import { describe, it } from 'node:test';
import { get, withProxy } from './stand.ts';

/** An application that dies of the first request after /warm, and has the list of all that it was asked. */
function dyingApp(): { asked: string[]; answer: http.RequestListener } {
  const asked: string[] = [];
  return {
    asked,
    answer(request, response) {
      asked.push(`${request.method} ${request.url}`);
      if (asked.length === 2) request.socket.destroy();
      else response.end('well');
    },
  };
}

const settings = { alwaysForward: ['/write*'], passthrough: ['/passed*'] };

describe('an application that dies after it was asked', () => {
  for (const [what, method, path] of [
    ['a read', 'GET', '/read'],
    ['a safe request of passthrough', 'GET', '/passed'],
  ] as const) {
    it(`is asked again for ${what}`, async () => {
      const { asked, answer } = dyingApp();
      const body = async (port: number) => {
        await get(port, '/warm');
        assert.equal((await get(port, path, { method })).status, 200);
      };
      await withProxy(answer, body, { settings });
      assert.deepEqual(asked, ['GET /warm', `${method} ${path}`, `${method} ${path}`]);
    });
  }

  for (const [what, method, path] of [
    ['a write by GET (always-forward)', 'GET', '/write'],
    ['a write without a body', 'POST', '/read'],
    ['another method on a path of passthrough', 'DELETE', '/passed'],
  ] as const) {
    it(`is not asked again for ${what}`, async () => {
      const { asked, answer } = dyingApp();
      const body = async (port: number) => {
        await get(port, '/warm');
        assert.equal((await get(port, path, { method })).status, 502);
      };
      await withProxy(answer, body, { settings });
      assert.deepEqual(asked, ['GET /warm', `${method} ${path}`]);
    });
  }

  it("is not asked again for what another node's application took for a write", async () => {
    const primary = dyingApp();
    const replica: http.RequestListener = ({ url }, response) => {
      if (url === '/replay') response.setHeader('fly-replay', 'instance=box1');
      response.end();
    };
    const both = async (primaryPort: number) => {
      const facts = {
        isPrimary: false,
        primaryHostname: 'box1',
        primaryUrl: `http://127.0.0.1:${primaryPort}`,
        heard: () => ({ txids: new Map([['app.db', 0xff]]), said: undefined }),
      };
      const body = async (port: number) => {
        // A read that this node is too far behind for keeps a connection to the primary.
        const stale = { headers: { cookie: '__txid=00000000000000ff' } };
        assert.equal((await get(port, '/warm', stale)).status, 200);
        assert.equal((await get(port, '/replay')).status, 502);
      };
      await withProxy(replica, body, { facts, settings });
    };
    await withProxy(primary.answer, both, { settings });
    assert.equal(primary.asked.filter((line) => line === 'GET /replay').length, 1);
  });
});
