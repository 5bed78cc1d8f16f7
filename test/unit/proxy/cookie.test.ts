import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatTxids, parseTxids, txidSetCookie } from '../../../src/proxy/cookie.ts';

const DAY_MS = Date.UTC(2026, 0, 1);
const hex = (txid: number) => txid.toString(16).padStart(16, '0');

describe('the cookie', () => {
  it('of one database is what LiteFS makes of it', () => {
    const cookie = txidSetCookie(new Map([['app.db', 42]]), ['app.db'], DAY_MS);
    assert.equal(
      cookie,
      '__txid=000000000000002a; Path=/; Expires=Thu, 01 Jan 2026 00:05:00 GMT; Max-Age=300; HttpOnly; SameSite=Lax',
    );
  });

  it('carries each of several databases', () => {
    const txids = new Map([
      ['app.db', 42],
      ['a b;.db', 7],
    ]);
    assert.equal(formatTxids(txids, [...txids.keys()]), `app.db:${hex(42)}&a%20b%3B.db:${hex(7)}`);
  });

  it('comes back as it went, whatever the names, among other cookies', () => {
    const name = fc.string({
      unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 20,
    });
    const txids = fc.uniqueArray(
      fc.tuple(name, fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
      { minLength: 1, maxLength: 5, selector: ([key]) => key },
    );
    fc.assert(
      fc.property(txids, (list) => {
        const names = list.map(([key]) => key);
        const value = formatTxids(new Map(list), names);
        assert.match(value, /^[!#-+\--:<-[\]-~]+$/, 'what RFC 6265 allows in a value');
        const header = `a=b; __txid=${value};c=__txid`;
        assert.deepEqual(parseTxids(header, names), new Map(list));
      }),
    );
  });

  const hostile = [
    '__txid=',
    '__txid',
    '__txid=1',
    '__txid=000000000000000g',
    '__txid=00000000000000001',
    '__txid=ffffffffffffffff',
    '__txid=0000000000000000',
    '__txid="000000000000002a"',
    '__txid=other.db:000000000000002a',
    '__txid=app.db:2a',
    '__txid=%61pp.db:000000000000002a',
    '__txid=__proto__:000000000000002a',
    `__txid=${'&'.repeat(100_000)}`,
    'x__txid=000000000000002a',
    '=__txid=000000000000002a',
    ';;;=;',
  ];
  for (const header of hostile) {
    it(`is ignored as ${header.slice(0, 50)}`, () => {
      assert.equal(parseTxids(header, ['app.db']).size, 0);
    });
  }

  it('of several databases carries the one that is there', () => {
    const databases = ['a.db', 'b.db'];
    const txids = new Map([['b.db', 42]]);
    const [cookie] = txidSetCookie(txids, databases, DAY_MS).split(';');
    assert.deepEqual(parseTxids(cookie, databases), txids);
  });

  it('of one database says nothing of several', () => {
    assert.equal(parseTxids('__txid=000000000000002a', ['a.db', 'b.db']).size, 0);
  });

  it('counts where it is first', () => {
    const header = `__txid=${hex(5)}; __txid=${hex(9)}`;
    assert.deepEqual(parseTxids(header, ['a.db']), new Map([['a.db', 5]]));
  });

  it('never throws, and never names a database that was not asked for', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        for (const name of parseTxids(`__txid=${text}`, ['a.db', 'b.db']).keys()) {
          assert(['a.db', 'b.db'].includes(name));
        }
      }),
    );
  });
});
