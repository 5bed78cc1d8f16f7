/** How many connections the API takes, in all and from one address. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, it } from 'node:test';
import { limitConnections } from '../../../src/http/connections.ts';

type Open = (from: string) => Promise<net.Socket | undefined>;

/** `open`: a connection from an address of loopback; undefined when it was closed instead of answered. */
async function withLimits(
  limits: { inAll: number; perAddress?: number },
  body: (open: Open) => Promise<void>,
): Promise<void> {
  const server = http.createServer((_, response) => response.end('x'));
  limitConnections(server, limits);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const opened: net.Socket[] = [];
  const open: Open = async (localAddress) => {
    const socket = net.connect({ port, host: '127.0.0.1', localAddress });
    opened.push(socket);
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const answered = once(socket, 'data').then(() => socket);
    return Promise.race([answered, once(socket, 'close').then(() => undefined)]);
  };
  try {
    await body(open);
  } finally {
    for (const socket of opened) socket.destroy();
    server.close();
    server.closeAllConnections();
  }
}

describe('a server', () => {
  it('takes so many from one address, and others from another', () =>
    withLimits({ inAll: 10, perAddress: 2 }, async (open) => {
      const [first, second] = [await open('127.0.0.2'), await open('127.0.0.2')];
      assert(first && second);
      assert.equal(await open('127.0.0.2'), undefined);
      assert(await open('127.0.0.3'));
      first.destroy();
      await once(first, 'close');
      // The other end learns of it a moment later.
      let again: net.Socket | undefined;
      while (!again) again = await open('127.0.0.2');
      assert.equal(await open('127.0.0.2'), undefined);
    }));

  it('takes so many in all', () =>
    withLimits({ inAll: 2, perAddress: 2 }, async (open) => {
      assert(await open('127.0.0.2'));
      assert(await open('127.0.0.3'));
      assert.equal(await open('127.0.0.4'), undefined);
    }));
});
