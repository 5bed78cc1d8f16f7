/** A client that still sends when it is answered comes to its answer. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { describe, mock, test } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import type { Route } from '../../../src/http/router.ts';
import { withServer } from './serve.ts';

const routes: Route[] = [
  { method: 'GET', path: '/a', access: 'public', handle: () => ({ rows: 1 }) },
  {
    method: 'POST',
    path: '/refused',
    access: 'guarded',
    takesBody: true,
    handle() {
      throw new LiteFsError('WRONG_STATE', 'not now', { hint: 'Later.' });
    },
  },
];

const BODY_BYTES = 8 * 2 ** 20;

/** The status for one who sends all of a large body before it reads; rejects as its connection fails. */
function sendAll(where: http.RequestOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.request({ method: 'POST', path: '/refused', agent: false, ...where });
    request.on('error', reject);
    let status = 0;
    request.on('response', (response) => {
      status = response.statusCode ?? 0;
      response.resume();
    });
    // Its answer may come before it has sent all; it goes on.
    request.on('close', () => resolve(request.writableFinished ? status : -1));
    request.end(Buffer.alloc(BODY_BYTES));
  });
}

/** A request whose body never comes, and what came back until the answer was complete. */
async function announce(port: number): Promise<{ socket: net.Socket; answer: string }> {
  const socket = net.connect(port, '127.0.0.1').setEncoding('latin1');
  socket.write('GET /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n');
  let answer = '';
  while (!answer.endsWith('}\n')) answer += (await once(socket, 'data'))[0];
  return { socket, answer };
}

describe('a body that nobody reads', () => {
  test('does not keep its client from the answer, at the port and at the socket', async () => {
    const socketPath = path.join(os.tmpdir(), `litefs-lite-unread-${process.pid}.sock`);
    await withServer(
      { routes },
      async (port) => {
        for (let round = 0; round < 5; round++) {
          assert.equal(await sendAll({ port, host: '127.0.0.1' }), 401);
          assert.equal(await sendAll({ socketPath }), 503);
        }
      },
      socketPath,
    );
  });

  test('ends the connection after the answer, once it has come', async () => {
    await withServer({ routes }, async (port) => {
      const { socket, answer } = await announce(port);
      assert.match(answer, /^HTTP\/1\.1 200 /);
      assert.match(answer, /^connection: close\r$/im);
      socket.write('0123456789');
      await once(socket, 'end');
      socket.destroy();
    });
  });

  test('is waited for 5 s', async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      await withServer({ routes }, async (port) => {
        const { socket } = await announce(port);
        let isOver = false;
        socket.once('end', () => (isOver = true));
        mock.timers.tick(4999);
        // An answer later than what would have ended it.
        (await announce(port)).socket.destroy();
        assert(!isOver);
        mock.timers.tick(1);
        await once(socket, 'end');
        socket.destroy();
      });
    } finally {
      mock.timers.reset();
    }
  });

  test('is waited for no longer than its client stays', async () => {
    const answered = Promise.withResolvers<void>();
    await withServer({ routes, answered: () => answered.resolve() }, async (port) => {
      (await announce(port)).socket.destroy();
      await answered.promise;
    });
  });
});
