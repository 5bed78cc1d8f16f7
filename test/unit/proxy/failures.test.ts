/** What goes wrong in the proxy itself ends that request, and is told of; the next one is answered. */
import assert from 'node:assert/strict';
import type http from 'node:http';
import { describe, it } from 'node:test';
import type { Answered } from '../../../src/proxy/server.ts';
import { get, type StandOptions, withProxy } from './stand.ts';

const app: http.RequestListener = (_, response) => response.end('well');

/** What each request in turn is answered with, and what is told of it. */
async function failing(paths: readonly string[], options: StandOptions) {
  const told: Answered[] = [];
  const got: [number, string][] = [];
  const body = async (port: number) => {
    for (const path of paths) {
      const { status, text } = await get(port, path);
      got.push([status, text]);
    }
  };
  await withProxy(app, body, { ...options, answered: (answer) => told.push(answer) });
  return { got, told };
}

describe('a failure in the proxy', () => {
  it('is 500, also when it is of a header that each answer has', async () => {
    const facts = { hostname: '東京' };
    const { got, told } = await failing(['/a', '/litefs/health', '/b'], { facts });
    assert.deepEqual(
      got.map(([status]) => status),
      [500, 200, 500],
    );
    assert.match(got[0][1], /^the proxy failed: Invalid character in header content/);
    assert(told[0].error instanceof TypeError);
    assert.deepEqual([told[1].error, told[1].way], [undefined, 'health']);
  });

  it('is 500 when nothing can be learned of the node', async () => {
    const broken = new Error('the engine has gone');
    const node = {
      flush: () => Promise.reject(broken),
      troubles: () => {
        throw broken;
      },
    };
    const settings = { alwaysForward: ['/write'] };
    const { got, told } = await failing(['/write', '/litefs/health', '/a'], { node, settings });
    const failed = [500, 'the proxy failed: the engine has gone\n'];
    assert.deepEqual(got, [failed, failed, [200, 'well']]);
    assert.deepEqual(
      told.map(({ error }) => error),
      [broken, broken, undefined],
    );
  });
});

describe('an answer of the application', () => {
  it('may have as much in its headers as a request may', async () => {
    const large = 'x'.repeat(60_000);
    const wordy: http.RequestListener = (_, response) => response.setHeader('x-large', large).end();
    await withProxy(wordy, async (port) => {
      const { status, headers } = await get(port, '/', { maxHeaderSize: 2 ** 17 });
      assert.deepEqual([status, headers['x-large']], [200, large]);
    });
  });
});
