import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  headerValue,
  relaxTxnumCookie,
  requestHeaders,
  responseHeaders,
  trailerPairs,
  withoutHeader,
} from '../../../src/proxy/headers.ts';

const CLIENT = { address: '10.0.0.9', host: 'app.lan', encrypted: false };
const FORWARDED = [
  ['X-Forwarded-For', '10.0.0.9'],
  ['X-Forwarded-Host', 'app.lan'],
  ['X-Forwarded-Proto', 'http'],
].flat();

describe("a request's headers", () => {
  it('keep Host, case, order and repetition, and say whom they come from', () => {
    const raw = ['Host', 'app.lan', 'X-b', '1', 'Cookie', 'a=b', 'X-B', '2', 'content-length', '3'];
    assert.deepEqual(requestHeaders(raw, CLIENT), [...raw, ...FORWARDED]);
  });

  it('lose what is of the connection, and what Connection names', () => {
    const raw = ['Connection', 'close, X-Hop', 'X-Hop', '1', 'Keep-Alive', 'timeout=5'];
    raw.push('TE', 'trailers', 'Transfer-Encoding', 'chunked', 'Upgrade', 'h2c');
    raw.push('Proxy-Authorization', 'x', 'Proxy-Connection', 'x', 'Accept', '*/*');
    assert.deepEqual(requestHeaders(raw, CLIENT), ['Accept', '*/*', ...FORWARDED]);
  });

  it('keep what a Connection must not take away', () => {
    const raw = ['Connection', 'host, cookie, content-length, authorization, x-forwarded-for'];
    const kept = ['Host', 'a', 'Cookie', 'b', 'Content-Length', '0', 'Authorization', 'c'];
    assert.deepEqual(requestHeaders([...raw, ...kept], CLIENT), [...kept, ...FORWARDED]);
  });

  it('go on with what another proxy has said', () => {
    const raw = ['x-forwarded-for', '1.2.3.4', 'X-Forwarded-Proto', 'https'];
    raw.push('X-Forwarded-For', '5.6.7.8', 'X-Forwarded-Host', 'www.example.com');
    const headers = requestHeaders(raw, CLIENT);
    assert.equal(headerValue(headers, 'x-forwarded-for'), '1.2.3.4, 5.6.7.8, 10.0.0.9');
    assert.equal(headerValue(headers, 'x-forwarded-host'), 'www.example.com');
    assert.equal(headerValue(headers, 'x-forwarded-proto'), 'https');
  });

  it('carry none of ours from a client, and ours to the primary', () => {
    const raw = ['Litefs-Forwarded-By', 'me', 'LITEFS-anything', '1'];
    assert.deepEqual(requestHeaders(raw, CLIENT), FORWARDED);
    const headers = requestHeaders(raw, CLIENT, 'node-2');
    assert.equal(headerValue(headers, 'litefs-forwarded-by'), 'node-2');
  });
});

describe("an answer's headers", () => {
  const raw = ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Litefs-Role', 'primary'];
  raw.push('Connection', 'keep-alive', 'Keep-Alive', 'timeout=5', 'Transfer-Encoding', 'chunked');

  it('carry none of ours from an application', () => {
    const kept = ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'];
    assert.deepEqual(responseHeaders(raw, { keepOurs: false }), kept);
  });

  it("keep what the primary's proxy says of itself", () => {
    const headers = responseHeaders(raw, { keepOurs: true });
    assert.equal(headerValue(headers, 'litefs-role'), 'primary');
  });

  it('can lose one by name', () => {
    assert.deepEqual(
      withoutHeader(['A', '1', 'fly-Replay', 'A', 'B', 'fly-replay'], 'fly-replay'),
      ['A', '1', 'B', 'fly-replay'],
    );
  });
});

describe('trailers', () => {
  it('may not be what only headers can be', () => {
    const raw = ['X-Sum', '1', 'Content-Length', '5', 'Transfer-Encoding', 'chunked', 'Host', 'x'];
    assert.deepEqual(trailerPairs(raw), [['X-Sum', '1']]);
  });
});

describe("the mark Secure of litefs-js's cookie", () => {
  const table: [cookie: string, result: string][] = [
    ['txnum=5; Path=/; Secure; HttpOnly', 'txnum=5; Path=/; HttpOnly'],
    ['txnum=5; secure', 'txnum=5'],
    ['session=5; Secure', 'session=5; Secure'],
    ['txnum=5; Path=/secure', 'txnum=5; Path=/secure'],
  ];
  for (const [cookie, result] of table) {
    it(`makes ${cookie} to ${result}`, () => {
      assert.deepEqual(relaxTxnumCookie(['set-cookie', cookie]), ['set-cookie', result]);
    });
  }
});
