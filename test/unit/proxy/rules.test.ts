import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { textMatcher } from '../../../src/patterns.ts';
import {
  isUpgrade,
  pathOf,
  type RequestKind,
  Rules,
  type UpgradeHeaders,
} from '../../../src/proxy/rules.ts';

describe('a pattern of paths', () => {
  const table: [pattern: string, path: string, fits: boolean][] = [
    ['/a', '/a', true],
    ['/a', '/ab', false],
    ['/a', '/x/a', false],
    ['/a*', '/abc', true],
    ['/a*', '/b/a', false],
    ['*.png', '/img/x.png', true],
    ['*.png', '/img/xpng', false],
    ['*.png', '/img/x.png/edit', false],
    ['/a*c', '/ac', true],
    ['/ab*bc', '/abc', false],
    ['*', '', true],
    ['**', '/x', true],
    ['/*/edit/*', '/posts/edit/5', true],
    ['/*/edit/*', '/posts/editor', false],
    ['/+(x)?', '/+(x)?', true],
    ['/+(x)?', '/x', false],
  ];
  for (const [pattern, path, fits] of table) {
    it(`${pattern} ${fits ? 'fits' : 'does not fit'} ${path || 'the empty path'}`, () => {
      assert.equal(textMatcher([pattern])(path), fits);
    });
  }

  it('is what the regular expression with .* in it says', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.', '*'), maxLength: 8 });
    fc.assert(
      fc.property(text, text, (pattern, path) => {
        const parts = pattern.split('*').map((part) => part.replace(/[./]/g, '\\$&'));
        const expected = new RegExp(`^${parts.join('.*')}$`).test(path);
        assert.equal(textMatcher([pattern])(path), expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes no time that grows faster than the path', () => {
    const startedMs = performance.now();
    assert.equal(textMatcher(['*a*a*a*a*a*b'])(`/${'a'.repeat(100_000)}`), false);
    assert(performance.now() - startedMs < 1000);
  });
});

describe('a path', () => {
  const table: [target: string, path: string][] = [
    ['/a?b=/c', '/a'],
    ['/%61dmin', '/admin'],
    ['/bad%zz', '/bad%zz'],
    ['http://host:80/a/b?c', '/a/b'],
    ['http://host', '/'],
    ['*', '*'],
  ];
  for (const [target, path] of table) {
    it(`of ${target} is ${path}`, () => assert.equal(pathOf(target), path));
  }
});

describe('a request', () => {
  const settings = { passthrough: ['*.css', '/static/*'], alwaysForward: ['/admin', '/cron/*'] };
  const rules = new Rules({ ...settings, websocket: 'local' });
  const table: [method: string, target: string, kind: RequestKind][] = [
    ['GET', '/', 'read'],
    ['HEAD', '/x', 'read'],
    ['OPTIONS', '/x', 'read'],
    ['TRACE', '/x', 'read'],
    ['POST', '/x', 'write'],
    ['PUT', '/x', 'write'],
    ['PATCH', '/x', 'write'],
    ['DELETE', '/x', 'write'],
    ['PROPFIND', '/x', 'write'],
    ['GET', '/admin', 'write'],
    ['GET', '/%61dmin?x', 'write'],
    ['GET', '/admin/x', 'read'],
    ['GET', '/cron/daily', 'write'],
    ['GET', '/a.css?v=1', 'passthrough'],
    ['POST', '/static/x', 'passthrough'],
    ['GET', '/litefs/health', 'health'],
    ['POST', '/litefs/health', 'write'],
  ];
  for (const [method, target, kind] of table) {
    it(`${method} ${target} is ${kind}`, () => {
      assert.equal(rules.kindOf({ method, target, upgrade: undefined }), kind);
    });
  }

  it('for a WebSocket is a write when those are for the primary', () => {
    const request = { method: 'GET', target: '/live', upgrade: 'WebSocket' };
    assert.equal(rules.kindOf(request), 'read');
    const forward = new Rules({ ...settings, websocket: 'primary' });
    assert.equal(forward.kindOf(request), 'write');
    assert.equal(forward.kindOf({ ...request, upgrade: 'other' }), 'read');
  });
});

describe('a change of protocol', () => {
  const table: [what: string, headers: UpgradeHeaders, isOne: boolean][] = [
    ['a WebSocket', { upgrade: 'websocket' }, true],
    ['a protocol that we do not know', { upgrade: 'tcp', 'content-length': '0' }, true],
    ['a WebSocket among others', { upgrade: 'h2c, websocket' }, true],
    ['none', {}, false],
    ['an empty offer', { upgrade: '' }, false],
    ['an offer of HTTP/2', { upgrade: 'h2c' }, false],
    ['an offer of HTTP and TLS', { upgrade: 'HTTP/2.0, TLS/1.3' }, false],
    ['a request with a body', { upgrade: 'websocket', 'content-length': '5' }, false],
    ['a request in chunks', { upgrade: 'tcp', 'transfer-encoding': 'chunked' }, false],
  ];
  for (const [what, headers, isOne] of table) {
    it(`${isOne ? 'is' : 'is not'} ${what}`, () => assert.equal(isUpgrade(headers), isOne));
  }
});
