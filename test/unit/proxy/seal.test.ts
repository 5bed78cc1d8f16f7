import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cookieSeal, forwardingSeal, isSeal, SEAL_CHARS } from '../../../src/proxy/seal.ts';

const HEAD = { method: 'POST', target: '/a?b' };
const HEADERS = ['Host', 'a', 'X-Forwarded-For', '10.0.0.9', 'X-Forwarded-Proto', 'http'];
HEADERS.push('Cookie', 'a=b', 'litefs-forwarded-by', 'box2');

describe('the seal of what a request says of its client', () => {
  const seal = forwardingSeal('secret', HEAD, HEADERS);

  it('is the same at the next hop, in whose order and case of names it comes', () => {
    const there = [
      'connection',
      'close',
      'x-forwarded-proto',
      'http',
      'litefs-Forwarded-By',
      'box2',
    ];
    there.push('HOST', 'a', 'X-FORWARDED-FOR', '10.0.0.9', 'Cookie', 'other');
    assert.equal(forwardingSeal('secret', HEAD, there), seal);
    assert.equal(seal.length, SEAL_CHARS);
  });

  it('is another for anything else that is said', () => {
    const others = [
      forwardingSeal('Secret', HEAD, HEADERS),
      forwardingSeal('secret', { ...HEAD, method: 'GET' }, HEADERS),
      forwardingSeal('secret', { ...HEAD, target: '/a' }, HEADERS),
      forwardingSeal('secret', HEAD, [...HEADERS, 'X-Real-IP', '1.2.3.4']),
      forwardingSeal('secret', HEAD, [...HEADERS, 'Forwarded', 'for=1.2.3.4']),
      ...[1, 3, 5, 9].map((i) => forwardingSeal('secret', HEAD, HEADERS.with(i, 'x'))),
      ...[0, 2, 4, 8].map((i) => forwardingSeal('secret', HEAD, HEADERS.toSpliced(i, 2))),
      cookieSeal('secret', '', []),
    ];
    for (const other of others) assert(!isSeal(other, seal));
    assert.equal(new Set(others).size, others.length);
  });

  it('is compared whole', () => {
    assert(isSeal(seal, forwardingSeal('secret', HEAD, HEADERS)));
    for (const other of ['', seal.slice(1), `${seal}x`, '\u00e9'.repeat(SEAL_CHARS)]) {
      assert(!isSeal(other, seal));
    }
  });
});
