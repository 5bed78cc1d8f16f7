/** From a request to its route, and what is answered when there is none or it fails. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { describe, test } from 'node:test';
import { errorText, LiteFsError } from '../../../src/errors.ts';
import { HttpFault } from '../../../src/http/fault.ts';
import type { ErrorReport } from '../../../src/http/info.ts';
import type { Route } from '../../../src/http/router.ts';
import { withProxy } from '../proxy/stand.ts';
import { ask, sendRaw, withServer } from './serve.ts';

const routes: Route[] = [
  { method: 'GET', path: '/a', handle: ({ query }) => ({ said: query.get('say') }) },
  { method: 'POST', path: '/a', deed: 'changes', handle: () => ({ changed: true }) },
  { method: 'GET', path: '/content', deed: 'hands out', handle: () => ({ rows: 1 }) },
  {
    method: 'GET',
    path: '/missing',
    handle() {
      throw new LiteFsError('DATABASE_NOT_FOUND', 'there is no x.db', { hint: 'Look.' });
    },
  },
  {
    method: 'GET',
    path: '/bug',
    handle() {
      throw new TypeError('x is undefined');
    },
  },
  {
    method: 'GET',
    path: '/torn',
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
        'OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n',
      );
      assert.match(answer, /^HTTP\/1\.1 404 /);
    });
  });

  test('a body that no route reads ends the connection after the answer', async () => {
    await withServer({ routes }, async (port) => {
      const head = 'GET /a HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n';
      const answer = await sendRaw(port, head);
      assert.match(answer, /^HTTP\/1\.1 200 /);
      assert.match(answer, /^connection: close\r$/im);
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

describe('what changes something', () => {
  const change = (port: number, headers = {}) => ask(port, 'POST', '/a', { headers });

  test('is open to programs on this machine', async () => {
    await withServer({ routes, secret: 'sesame' }, async (port) => {
      assert.equal((await change(port)).status, 200);
    });
  });

  for (const header of ['origin', 'sec-fetch-site', 'x-forwarded-for', 'forwarded', 'via']) {
    test(`needs the token with ${header}, which tells of somebody else`, async () => {
      await withServer({ routes, secret: 'sesame' }, async (port) => {
        const refused = await change(port, { [header]: 'x' });
        assert.equal(refused.status, 401);
        assert.match(refused.headers['www-authenticate'] ?? '', /^Bearer /);
        const allowed = await change(port, { [header]: 'x', authorization: 'Bearer sesame' });
        assert.equal(allowed.status, 200);
      });
    });
  }

  test('is refused with a wrong token, also from this machine', async () => {
    await withServer({ routes, secret: 'sesame' }, async (port) => {
      for (const token of ['sesam', 'sesame2', 'x']) {
        assert.equal((await change(port, { authorization: `Bearer ${token}` })).status, 401);
      }
    });
  });

  test('is for this machine, whatever its token, when the node has no secret', async () => {
    await withServer({ routes }, async (port) => {
      assert.equal((await change(port, { authorization: 'Bearer x' })).status, 200);
    });
  });

  test('is for this machine only when the node has no secret', async () => {
    await withServer({ routes }, async (port) => {
      assert.equal((await change(port)).status, 200);
      const refused = await change(port, { origin: 'http://evil', authorization: 'Bearer x' });
      assert.equal(refused.status, 403);
      assert.match(report(refused.text).hint ?? '', /replication\.secret/);
    });
  });
});

describe('what databases hold', () => {
  const elsewhere = { 'x-forwarded-for': '10.0.0.9' };
  const read = (port: number, headers = {}) => ask(port, 'GET', '/content', { headers });

  test('is for everybody when the node has no secret', async () => {
    await withServer({ routes }, async (port) => {
      for (const headers of [{}, elsewhere, { authorization: 'Bearer x' }]) {
        assert.equal((await read(port, headers)).status, 200);
      }
    });
  });

  test('is for programs on this machine, and for who has the secret, when there is one', async () => {
    await withServer({ routes, secret: 'sesame' }, async (port) => {
      assert.equal((await read(port)).status, 200);
      assert.equal((await read(port, elsewhere)).status, 401);
      assert.equal((await read(port, { authorization: 'Bearer wrong' })).status, 401);
      const allowed = { ...elsewhere, authorization: 'Bearer sesame' };
      assert.equal((await read(port, allowed)).status, 200);
    });
  });
});

describe('a request that a page of another name has made (DNS rebinding)', () => {
  const names = ['Box1', 'box1.lan'];
  const statusOf = async (port: number, host: string, more = {}) => {
    const headers = { host, ...more };
    const [write, read, rest] = await Promise.all([
      ask(port, 'POST', '/a', { headers }),
      ask(port, 'GET', '/content', { headers }),
      ask(port, 'GET', '/a', { headers }),
    ]);
    return [write.status, read.status, rest.status];
  };

  for (const secret of [undefined, 'sesame']) {
    test(`changes nothing and is given nothing, ${secret ? 'with a' : 'without'} secret`, async () => {
      await withServer({ routes, names, secret }, async (port) => {
        for (const host of ['evil.example', 'evil.example:20202', 'box1.lan.evil.example', 'a b']) {
          assert.deepEqual(await statusOf(port, host), [403, 403, 200], host);
        }
        const refused = await ask(port, 'GET', '/content', { headers: { host: 'evil.example' } });
        assert.equal(report(refused.text).code, 'FORBIDDEN');
        assert.match(report(refused.text).hint ?? '', /lease\.advertise-url/);
      });
    });
  }

  test('is told from one that names this node', async () => {
    await withServer({ routes, names }, async (port) => {
      for (const host of [
        'localhost',
        'LOCALHOST.:20202',
        'box1:20202',
        'BOX1.lan',
        '10.0.0.1:80',
        '[::1]:20202',
      ]) {
        assert.deepEqual(await statusOf(port, host), [200, 200, 200], host);
      }
    });
  });

  test('does not have the secret: with that, any name will do', async () => {
    await withServer({ routes, names, secret: 'sesame' }, async (port) => {
      const more = { authorization: 'Bearer sesame' };
      assert.deepEqual(await statusOf(port, 'vpn.example', more), [200, 200, 200]);
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
