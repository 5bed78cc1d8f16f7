import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  headerValue,
  relaxTxnumCookie,
  requestHeaders,
  responseHeaders,
  trailerPairs,
  withoutHeader,
} from '../../../src/proxy/headers.ts';

const CLIENT = { address: '10.0.0.9', host: 'app.lan', isTrusted: false };
const TRUSTED = { ...CLIENT, isTrusted: true };
const HOP = {
  via: { httpVersion: '1.1', pseudonym: 'box' },
  host: 'localhost:8080',
  forwardedBy: undefined,
};
const ADDED = [
  ['X-Forwarded-For', '10.0.0.9'],
  ['X-Forwarded-Host', 'app.lan'],
  ['X-Forwarded-Proto', 'http'],
  ['Via', '1.1 box'],
].flat();
/** What an application that reads headers as CGI has them finds under a name. */
const asCgi = (headers: readonly string[], name: string) =>
  headers.filter((_, i) => i % 2 === 1 && cgi(headers[i - 1]) === name);
const cgi = (name: string) => name.toUpperCase().replace(/[^A-Z0-9]/g, '_');

describe("a request's headers", () => {
  it('keep Host, case, order and repetition, and say whom they come from', () => {
    const raw = ['Host', 'app.lan', 'X-b', '1', 'Cookie', 'a=b', 'X-B', '2', 'content-length', '3'];
    assert.deepEqual(requestHeaders(raw, CLIENT, HOP), [...raw, ...ADDED]);
  });

  it('lose what is of the connection, and what Connection names', () => {
    const raw = ['Connection', 'close, X-Hop', 'X-Hop', '1', 'Keep-Alive', 'timeout=5'];
    raw.push('TE', 'gzip, chunked', 'Transfer-Encoding', 'chunked', 'Upgrade', 'h2c');
    raw.push('Proxy-Authorization', 'x', 'Proxy-Connection', 'x', 'Proxy', 'x', 'Accept', '*/*');
    assert.deepEqual(requestHeaders(raw, CLIENT, HOP), ['Accept', '*/*', ...ADDED]);
  });

  it('have of TE what asks for trailers, and nothing else', () => {
    for (const value of ['trailers', 'gzip, Trailers', 'trailers, chunked;q=0.5']) {
      assert.deepEqual(requestHeaders(['te', value], CLIENT, HOP), ['TE', 'trailers', ...ADDED]);
    }
  });

  it('keep what a Connection must not take away', () => {
    const raw = ['Connection', 'host, cookie, content-length, authorization, x-forwarded-for'];
    const kept = ['Host', 'a', 'Cookie', 'b', 'Content-Length', '0', 'Authorization', 'c'];
    assert.deepEqual(requestHeaders([...raw, ...kept], CLIENT, HOP), [...kept, ...ADDED]);
  });

  it('have a Host where HTTP/1.0 has none', () => {
    const client = { ...CLIENT, host: undefined };
    const hop = { ...HOP, via: { ...HOP.via, httpVersion: '1.0' } };
    const headers = requestHeaders(['Accept', '*/*'], client, hop);
    assert.equal(headerValue(headers, 'host'), 'localhost:8080');
    assert.equal(headerValue(headers, 'x-forwarded-host'), undefined);
    assert.equal(headerValue(headers, 'via'), '1.0 box');
  });

  it('name the hops before', () => {
    const headers = requestHeaders(['Via', '1.0 a', 'via', '2 b (c)'], CLIENT, HOP);
    assert.equal(headerValue(headers, 'via'), '1.0 a, 2 b (c), 1.1 box');
  });

  it('go on with what a trusted proxy has said', () => {
    const raw = ['x-forwarded-for', '1.2.3.4', 'X-Forwarded-Proto', 'https'];
    raw.push('X-Forwarded-For', '5.6.7.8', 'X-Forwarded-Host', 'www.example.com');
    raw.push('X-Real-IP', '1.2.3.4', 'X-Forwarded-Port', '443', 'Forwarded', 'for=1.2.3.4');
    const headers = requestHeaders(raw, TRUSTED, HOP);
    assert.equal(headerValue(headers, 'x-forwarded-for'), '1.2.3.4, 5.6.7.8, 10.0.0.9');
    assert.equal(headerValue(headers, 'x-forwarded-host'), 'www.example.com');
    assert.equal(headerValue(headers, 'x-forwarded-proto'), 'https');
    assert.equal(headerValue(headers, 'x-forwarded-port'), '443');
    assert.equal(headerValue(headers, 'x-real-ip'), '1.2.3.4');
    assert.equal(headerValue(headers, 'forwarded'), 'for=1.2.3.4, for=10.0.0.9');
    const v6 = requestHeaders(['Forwarded', 'for=a'], { ...TRUSTED, address: '2001:db8::1' }, HOP);
    assert.equal(headerValue(v6, 'forwarded'), 'for=a, for="[2001:db8::1]"');
  });

  it('carry nothing that a stranger says of the client', () => {
    const names = ['X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'X-Forwarded-Port'];
    names.push('X-Forwarded-Prefix', 'X-Forwarded-Ssl', 'X-Forwarded-User', 'X-Forwarded');
    names.push('Forwarded', 'X-Real-IP', 'X-Client-IP', 'True-Client-IP', 'CF-Connecting-IP');
    names.push('X-Cluster-Client-Ip', 'Client-Ip', 'Fly-Client-IP', 'X-Original-URL');
    names.push('X-Rewrite-URL', 'X-Host', 'X-Scheme', 'Front-End-Https', 'X-Script-Name');
    for (const name of names) {
      assert.deepEqual(requestHeaders([name, 'forged'], CLIENT, HOP), ADDED, name);
    }
  });

  it('carry it in no spelling that reads as one of ours, from whomever', () => {
    const spelt = fc
      .tuple(
        fc.constantFrom('x-forwarded-for', 'x-forwarded-proto', 'x-real-ip', 'litefs-role'),
        fc.array(fc.tuple(fc.constantFrom('-', '_', '.', '~', '!'), fc.boolean()), {
          minLength: 20,
          maxLength: 20,
        }),
      )
      .map(([name, choices]) =>
        [...name]
          .map((c, i) => (c === '-' ? choices[i][0] : choices[i][1] ? c.toUpperCase() : c))
          .join(''),
      );
    fc.assert(
      fc.property(spelt, (name) => {
        const strange = requestHeaders([name, 'forged'], CLIENT, HOP);
        assert.deepEqual(strange, ADDED, name);
        if (/^[a-z-]+$/i.test(name)) return;
        const trusted = requestHeaders([name, 'forged'], TRUSTED, HOP);
        assert.deepEqual(trusted, ADDED, name);
        assert.deepEqual(asCgi(trusted, 'X_FORWARDED_FOR'), ['10.0.0.9']);
      }),
    );
  });

  it('carry none of ours from a client, and ours to the primary', () => {
    const raw = ['Litefs-Forwarded-By', 'me', 'LITEFS-anything', '1', 'litefs_role', 'x'];
    assert.deepEqual(requestHeaders(raw, CLIENT, HOP), ADDED);
    const headers = requestHeaders(raw, CLIENT, { ...HOP, forwardedBy: 'node-2' });
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
