/**
 * For which Hosts a node answers at its port. On 25311ce it answered for all, so that a web page whose own name was made to
 * lead to the node read /info, /events and the rest.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hostName } from '../../../src/http/host.ts';
import type { Route } from '../../../src/http/router.ts';
import { admits, ask, sendRaw, withServer } from './serve.ts';

const routes: Route[] = ['/info', '/healthz'].map((path) => ({
  method: 'GET',
  path,
  access: 'public',
  handle: () => ({}),
}));
const isOwnName = (name: string) => name === 'box1.lan';
const serve = (body: (port: number) => Promise<void>) =>
  withServer({ routes, isOwnName, admission: admits('sesame') }, body);
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);
const send = async (port: number, head: string) =>
  statusOf(await sendRaw(port, `${head}\r\nConnection: close\r\n\r\n`));

describe('a request at the port', () => {
  it('is answered for names and addresses of the node, whatever the port', () =>
    serve(async (port) => {
      for (const host of [
        'box1.lan',
        'BOX1.lan.:20202',
        'localhost:1',
        '127.0.0.1:20202',
        '192.168.1.5',
        '[::1]:20202',
        '[fe80::1]',
      ]) {
        assert.equal((await ask(port, 'GET', '/info', { headers: { host } })).status, 200, host);
      }
    }));

  it('is not answered for other names, whoever asks for whatever, and it is said what to set', () =>
    serve(async (port) => {
      for (const host of [
        'evil.example',
        'box1.lan.evil.example',
        '127.0.0.1.evil.example',
        'localhost.evil.example:20202',
        '127.0.0.1@evil.example',
        '1',
        '[evil]',
        '127.0.0.1:x',
      ]) {
        for (const path of ['/info', '/healthz', '/nothing']) {
          const headers = { host, authorization: 'Bearer sesame' };
          const { status, text } = await ask(port, 'GET', path, { headers });
          assert.equal(status, 421, `${host} ${path}`);
          const { code, hint } = JSON.parse(text) as { code: string; hint: string };
          assert.equal(code, 'MISDIRECTED');
          assert.match(hint, /http\.hosts/);
        }
      }
    }));

  it('has one Host, or is a health check by HTTP/1.0', () =>
    serve(async (port) => {
      const both = 'Host: localhost\r\nHost: evil.example';
      assert.equal(await send(port, `GET /info HTTP/1.1\r\n${both}`), 400);
      assert.equal(
        await send(port, 'GET http://localhost/info HTTP/1.1\r\nHost: evil.example'),
        421,
      );
      assert.equal(await send(port, 'GET /info HTTP/1.1'), 400);
      assert.equal(await send(port, 'GET /info HTTP/1.1\r\nHost:'), 421);
      assert.equal(await send(port, 'GET /info HTTP/1.0'), 421);
      assert.equal(await send(port, 'GET /healthz HTTP/1.0'), 200);
      assert.equal(await send(port, 'GET /healthz HTTP/1.0\r\nHost: evil.example'), 421);
    }));
});

describe('the name in a Host', () => {
  it('is what stands before the port', () => {
    for (const [host, name] of [
      ['Box1:20202', 'box1'],
      ['box1.', 'box1'],
      ['[FE80::1]:7', 'fe80::1'],
      ['fe80::1', undefined],
      ['a b', undefined],
      ['a/b', undefined],
      ['', undefined],
    ]) {
      assert.equal(hostName(`${host}`), name, `${host}`);
    }
  });
});
