/** From a request to its route, and what is answered when there is none or it fails. */
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { describe, test } from 'node:test';
import { errorText, LiteFsError } from '../../../src/errors.ts';
import { HttpFault } from '../../../src/http/fault.ts';
import type { ErrorReport } from '../../../src/http/info.ts';
import type { Route } from '../../../src/http/router.ts';
import { withProxy } from '../proxy/stand.ts';
import { admits, ask, sendRaw, withServer } from './serve.ts';

const routes: Route[] = [
  {
    method: 'GET',
    path: '/a',
    access: 'public',
    handle: ({ query }) => ({ said: query.get('say') }),
  },
  { method: 'POST', path: '/a', access: 'guarded', handle: () => ({ changed: true }) },
  { method: 'GET', path: '/content', access: 'guarded', handle: () => ({ rows: 1 }) },
  {
    method: 'GET',
    path: '/missing',
    access: 'public',
    handle() {
      throw new LiteFsError('DATABASE_NOT_FOUND', 'there is no x.db', { hint: 'Look.' });
    },
  },
  {
    method: 'GET',
    path: '/bug',
    access: 'public',
    handle() {
      throw new TypeError('x is undefined');
    },
  },
  {
    method: 'GET',
    path: '/torn',
    access: 'public',
    handle({ response }) {
      response.write('half');
      throw new HttpFault(500, 'LATE', 'too late');
    },
  },
];

const report = (text: string) => JSON.parse(text) as ErrorReport;

describe('router', () => {
  test('a route gets the query, and its result is sent as JSON', async () => {
    await withServer({ routes }, async (port) => {
      const { status, headers, text } = await ask(port, 'GET', '/a?say=a%20b');
      assert.equal(status, 200);
      assert.deepEqual(JSON.parse(text), { said: 'a b' });
      assert.equal(headers['content-type'], 'application/json; charset=utf-8');
      assert.equal(headers['cache-control'], 'no-store');
    });
  });

  test('HEAD is GET without the body', async () => {
    await withServer({ routes }, async (port) => {
      const { status, headers, text } = await ask(port, 'HEAD', '/a');
      assert.equal(status, 200);
      assert.equal(text, '');
      assert.notEqual(headers['content-length'], '0');
    });
  });

  test('another path is 404, another method 405 with what is allowed', async () => {
    await withServer({ routes }, async (port) => {
      const nothing = await ask(port, 'GET', '/a/');
      assert.equal(nothing.status, 404);
      assert.equal(report(nothing.text).code, 'NOT_FOUND');
      const method = await ask(port, 'DELETE', '/a');
      assert.equal(method.status, 405);
      assert.equal(method.headers.allow, 'GET, POST');
      assert.equal(report(method.text).code, 'METHOD_NOT_ALLOWED');
    });
  });

  test('a failure with a code has its status and hint; a bug is 500', async () => {
    const told: string[] = [];
    const failed = (what: string, error: unknown) => told.push(`${what}: ${errorText(error)}`);
    await withServer({ routes, failed }, async (port) => {
      const missing = await ask(port, 'GET', '/missing');
      assert.equal(missing.status, 404);
      assert.deepEqual(report(missing.text), {
        code: 'DATABASE_NOT_FOUND',
        message: 'there is no x.db',
        hint: 'Look.',
      });
      const bug = await ask(port, 'GET', '/bug');
      assert.equal(bug.status, 500);
      assert.equal(report(bug.text).code, 'INTERNAL');
      assert.deepEqual(told, [`GET /bug: ${report(bug.text).message}`]);
    });
  });

  test('a failure in the middle of an answer ends the connection', async () => {
    const told: string[] = [];
    await withServer({ routes, failed: (what) => told.push(what) }, async (port) => {
      await assert.rejects(ask(port, 'GET', '/torn'));
    });
    assert.deepEqual(told, ['GET /torn']);
  });

  test('a target that is not a path is 404', async () => {
    await withServer({ routes }, async (port) => {
      const answer = await sendRaw(
        port,
        'OPTIONS * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n',
      );
      assert.match(answer, /^HTTP\/1\.1 404 /);
    });
  });

  test('each answer is counted under its route, others together', async () => {
    const answers: [string, number][] = [];
    const answered = (route: string, status: number) => answers.push([route, status]);
    await withServer({ routes, answered }, async (port) => {
      await ask(port, 'GET', '/a');
      await ask(port, 'GET', '/../../etc/passwd');
    });
    assert.deepEqual(answers, [
      ['/a', 200],
      ['other', 404],
    ]);
  });
});

describe('what is not for everybody', () => {
  const secret = 'of all nodes';
  const admission = admits(secret);
  const asked = [
    ['POST', '/a'],
    ['GET', '/content'],
    ['HEAD', '/content'],
  ] as const;
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  /** The statuses of each, asked for with these headers. */
  const statuses = (port: number, headers = {}) =>
    Promise.all(
      asked.map(async ([method, path]) => (await ask(port, method, path, { headers })).status),
    );

  test('is for who shows a secret of the node', async () => {
    await withServer({ routes, admission }, async (port) => {
      assert.deepEqual(await statuses(port, bearer(secret)), [200, 200, 200]);
      const spaced = { authorization: `bearer   ${secret}` };
      assert.deepEqual(await statuses(port, spaced), [200, 200, 200]);
    });
  });

  test('is refused without one, or with another, and it is said what to do', async () => {
    await withServer({ routes, admission }, async (port) => {
      for (const headers of [
        {},
        bearer('of all node'),
        bearer('of all nodes2'),
        bearer(''),
        { authorization: 'Basic b2YgYWxsIG5vZGVz' },
        { authorization: 'of all nodes' },
        { cookie: 'authorization=Bearer of all nodes' },
      ]) {
        assert.deepEqual(await statuses(port, headers), [401, 401, 401], JSON.stringify(headers));
      }
      const { headers, text } = await ask(port, 'POST', '/a');
      assert.match(headers['www-authenticate'] ?? '', /^Bearer /);
      assert.equal(report(text).code, 'UNAUTHORIZED');
      assert.match(report(text).hint ?? '', /^As root .*replication\.secret/);
    });
  });

  test('is refused by a node that has no secret', async () => {
    await withServer({ routes }, async (port) => {
      for (const headers of [{}, bearer('x'), bearer('undefined')]) {
        assert.deepEqual(await statuses(port, headers), [401, 401, 401]);
      }
    });
  });

  test('comes through proxies and from browsers alike', async () => {
    await withServer({ routes, admission }, async (port) => {
      for (const headers of [
        { 'x-forwarded-for': '10.0.0.9' },
        { 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '127.0.0.1' },
        { forwarded: 'for=127.0.0.1', via: '1.1 nginx' },
        { origin: 'http://127.0.0.1' },
        { 'sec-fetch-site': 'same-origin' },
        { host: 'localhost:20202' },
      ]) {
        assert.deepEqual(await statuses(port, headers), [401, 401, 401], JSON.stringify(headers));
        const shown = { ...headers, ...bearer('of all nodes') };
        assert.deepEqual(await statuses(port, shown), [200, 200, 200], JSON.stringify(headers));
      }
    });
  });

  test('takes a secret that is not ASCII, as UTF-8', async () => {
    await withServer({ routes, admission: admits('Schlüssel') }, async (port) => {
      const bytes = Buffer.from('Schlüssel').toString('latin1');
      assert.deepEqual(await statuses(port, bearer(bytes)), [200, 200, 200]);
    });
  });
});

describe('limits', () => {
  test('connections that the system cannot accept end nothing', async (t) => {
    const create = t.mock.method(http, 'createServer');
    const fail = async () => {
      const server = create.mock.calls.at(-1)?.result as http.Server;
      for (let i = 0; i < 3; i++) server.emit('error', new Error('accept ENFILE'));
    };
    await withServer({}, fail);
    await withProxy(http.createServer(), fail);
    assert.equal(create.mock.callCount(), 3);
  });

  test('headers that are too long are refused', async () => {
    await withServer({ routes }, async (port) => {
      const answer = await sendRaw(port, `GET /a HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 431 /);
    });
  });

  test('an answer that is not taken within a minute ends with its connection', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const handled = Promise.withResolvers<void>();
    const big: Route = {
      method: 'GET',
      path: '/big',
      access: 'public',
      handle: () => 'x'.repeat(32 * 2 ** 20),
    };
    const ended = Promise.withResolvers<void>();
    const answered = () => ended.resolve();
    await withServer({ routes: [big], answered }, async (port) => {
      const socket = net.connect(port, '127.0.0.1');
      try {
        socket.write('GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n');
        socket.once('readable', handled.resolve);
        await handled.promise;
        await new Promise((resolve) => setImmediate(resolve));
        t.mock.timers.tick(60_000);
        await ended.promise;
      } finally {
        socket.destroy();
      }
    });
  });

  test('a request with two lengths is refused', async () => {
    await withServer({ routes }, async (port) => {
      const both = 'content-length: 3\r\ntransfer-encoding: chunked';
      const answer = await sendRaw(port, `POST /a HTTP/1.1\r\nhost: x\r\n${both}\r\n\r\n0\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 400 /);
    });
  });

  test('closing ends a route that waits, and waits for it to let go', async () => {
    let released = false;
    const started = Promise.withResolvers<void>();
    const waits: Route = {
      method: 'GET',
      path: '/wait',
      access: 'public',
      async handle({ signal }) {
        started.resolve();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        await new Promise(setImmediate);
        released = true;
        return {};
      },
    };
    await withServer({ routes: [waits] }, async (port, server) => {
      const answer = assert.rejects(ask(port, 'GET', '/wait'));
      await started.promise;
      await server.close();
      assert(released);
      await answer;
    });
  });
});
