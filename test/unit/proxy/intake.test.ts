import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { faultOf, hasPassed, originForm } from '../../../src/proxy/intake.ts';

const head = (rawHeaders: readonly string[], target = '/', httpVersion = '1.1') => ({
  method: 'GET',
  target,
  httpVersion,
  rawHeaders,
});

describe('a request', () => {
  const fine = [
    head(['Host', 'a']),
    head(['HOST', 'a.example:8080']),
    head(['Host', '[2001:db8::1]:80']),
    head(['Host', 'under_score.lan']),
    head(['Host', '']),
    head([], '/', '1.0'),
    head(['Host', 'a'], '/', '1.0'),
    head(['Host', 'a'], '*'),
    head(['Host', 'a'], '//b/c'),
    head(['Host', 'A:80'], 'http://a/x'),
    head(['Host', 'a'], 'HTTP://A:080/x'),
    head(['Host', '[::1]'], 'http://[::1]:80'),
    head(['Host', 'a'], 'https://a:443/x'),
    head([], 'http://a/x', '1.0'),
    head(['Host', 'a', 'Transfer-Encoding', 'Chunked']),
    head(['Host', 'a', 'Content-Length', '5']),
  ];
  for (const each of fine) {
    it(`is taken: ${each.target} ${JSON.stringify(each.rawHeaders)} HTTP/${each.httpVersion}`, () =>
      assert.equal(faultOf(each), undefined));
  }

  const faulty = [
    head([]),
    head(['Host', 'a', 'host', 'a']),
    head(['Host', 'a', 'X', 'b', 'HOST', 'b'], '/', '1.0'),
    head(['Host', 'a b']),
    head(['Host', 'a,b']),
    head(['Host', 'u@a']),
    head(['Host', 'a/b']),
    head(['Host', 'a?b']),
    head(['Host', 'a#b']),
    head(['Host', 'a\\b']),
    head(['Host', 'a:b']),
    head(['Host', 'a:80:81']),
    head(['Host', '[::1']),
    head(['Host', '\u00e9']),
    head(['Host', 'a'], 'http://b/'),
    head(['Host', 'a'], 'http://a:81/'),
    head(['Host', 'a:443'], 'http://a/'),
    head(['Host', 'a'], 'http://a@b/'),
    head(['Host', 'a'], 'http:///x'),
    head(['Host', ''], 'http://a/'),
    head(['Host', 'a'], 'ws://a/'),
    head(['Host', 'a'], 'a:80'),
    head(['Host', 'a'], 'x'),
    head(['Host', 'a', 'Transfer-Encoding', 'gzip, chunked']),
    head(['Host', 'a', 'Transfer-Encoding', 'chunked, chunked']),
    head(['Host', 'a', 'Transfer-Encoding', 'chunked;q=1']),
    head(['Host', 'a', 'Transfer-Encoding', 'chunked ']),
    head(['Host', 'a', 'Transfer-Encoding', '']),
    head(['Host', 'a', 'Transfer-Encoding', 'chunked', 'transfer-encoding', 'chunked']),
    head(['Host', 'a', 'Transfer-Encoding', 'chunked', 'Content-Length', '0']),
    head(['Host', 'a', 'Transfer-Encoding', 'chunked'], '/', '1.0'),
  ];
  for (const each of faulty) {
    it(`is refused: ${each.target} ${JSON.stringify(each.rawHeaders)} HTTP/${each.httpVersion}`, () =>
      assert.match(faultOf(each) ?? '', /^[\x20-\x7e]+$/));
  }

  it('that is taken has one host, whatever it says', () => {
    const name = fc.constantFrom('a', 'A', 'b', 'a:80', 'a:81', '[::1]', 'a@b', 'a,b', '');
    const target = fc.oneof(
      fc.constantFrom('/', '*'),
      fc.tuple(fc.constantFrom('http', 'https', 'ftp'), name).map(([s, n]) => `${s}://${n}/x`),
    );
    const headers = fc.array(fc.tuple(fc.constantFrom('Host', 'host', 'X'), name), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(target, headers, (where, list) => {
        if (faultOf(head(list.flat(), where)) !== undefined) return;
        const hosts = list.filter(([key]) => key.toLowerCase() === 'host');
        assert.equal(hosts.length, 1);
        if (where.includes('://')) {
          assert.equal(
            new URL(where).host,
            new URL(`${where.split(':')[0]}://${hosts[0][1]}`).host,
          );
        }
      }),
    );
  });

  it('has its path and query at the next hop', () => {
    for (const [target, path] of [
      ['/a?b', '/a?b'],
      ['//a/b', '//a/b'],
      ['*', '*'],
      ['http://a', '/'],
      ['http://a?b', '/?b'],
      ['http://a/b?c=http://d/', '/b?c=http://d/'],
    ]) {
      assert.equal(originForm(target), path);
    }
  });

  it('has passed a proxy that is in its Via', () => {
    for (const [via, is] of [
      [['1.1 me'], true],
      [['1.0 other, 1.1 me'], true],
      [['1.1 other', 'HTTP/1.1 me (comment)'], true],
      [['1.1 me2, 1.1 notme'], false],
      [['me'], false],
      [[], false],
    ] as const) {
      const raw = via.flatMap((value) => ['Via', value]);
      assert.equal(hasPassed(raw, 'me'), is, `${via}`);
    }
  });
});
