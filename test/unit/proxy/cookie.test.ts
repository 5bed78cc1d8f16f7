import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type CookieRealm,
  formatTxids,
  parseWanted,
  setsTxidCookie,
  type Txids,
  txidSetCookie,
} from '../../../src/proxy/cookie.ts';

const DAY_MS = Date.UTC(2026, 0, 1);
const EXPIRY_MS = 5 * 60 * 1000;
const hex = (txid: number) => txid.toString(16).padStart(16, '0');
const realm = (databases: readonly string[], more: Partial<CookieRealm> = {}): CookieRealm => ({
  secret: 'a secret of the nodes',
  clusterId: '0123456789abcdef',
  databases,
  ...more,
});
/** The cookie as a browser sends it back. */
const cookieOf = (txids: Txids, where: CookieRealm, isCertain = true) =>
  txidSetCookie({ txids, isCertain }, 3, where, DAY_MS).split(';')[0];
const parseTxids = (header: string, databases: readonly string[]) =>
  parseWanted(header, realm(databases)).txids;

describe('the cookie', () => {
  it('of one database begins as what LiteFS makes of it', () => {
    const txids = new Map([['app.db', 42]]);
    const cookie = txidSetCookie({ txids, isCertain: true }, 3, realm(['app.db']), DAY_MS);
    assert.match(
      cookie,
      /^__txid=000000000000002a\.3\.[0-9a-z]{8}\.[\w-]{22}; Path=\/; Expires=Thu, 01 Jan 2026 00:05:00 GMT; Max-Age=300; HttpOnly; SameSite=Lax$/,
    );
  });

  it('carries each of several databases', () => {
    const txids = new Map([
      ['app.db', 42],
      ['a b;.db', 7],
    ]);
    assert.equal(formatTxids(txids, [...txids.keys()]), `app.db:${hex(42)}&a%20b%3B.db:${hex(7)}`);
  });

  const name = fc.string({
    unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 20,
  });
  const anyTxids = fc.uniqueArray(
    fc.tuple(name, fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
    { minLength: 1, maxLength: 5, selector: ([key]) => key },
  );

  it('comes back as it went, whatever the names, among other cookies', () => {
    fc.assert(
      fc.property(anyTxids, fc.boolean(), (list, isCertain) => {
        const where = realm(list.map(([key]) => key));
        const cookie = cookieOf(new Map(list), where, isCertain);
        assert.match(cookie, /^__txid=[!#-+\--:<-[\]-~]+$/, 'what RFC 6265 allows in a value');
        const settledMs = isCertain ? DAY_MS : DAY_MS + EXPIRY_MS;
        assert.deepEqual(parseWanted(`a=b; ${cookie};c=__txid`, where), {
          txids: new Map(list),
          vouched: { term: 3, settledMs },
        });
      }),
    );
  });

  it('of another cluster, secret or database is none', () => {
    fc.assert(
      fc.property(anyTxids, (list) => {
        const names = list.map(([key]) => key);
        const cookie = cookieOf(new Map(list), realm(names));
        for (const other of [
          realm(names, { clusterId: '0123456789abcdee' }),
          realm(names, { secret: 'another' }),
          realm(names, { secret: undefined }),
          realm(names.map((each) => `${each}2`)),
        ]) {
          assert.equal(parseWanted(cookie, other).txids.size, 0);
        }
      }),
    );
  });

  it('with one character changed is none', () => {
    const where = realm(['app.db']);
    const cookie = cookieOf(new Map([['app.db', 42]]), where);
    for (let i = '__txid='.length; i < cookie.length; i++) {
      const changed = cookie.slice(0, i) + (cookie[i] === '1' ? '2' : '1') + cookie.slice(i + 1);
      assert.equal(parseWanted(changed, where).txids.size, 0, changed);
    }
  });

  it('of LiteFS is read, and nobody vouches for it', () => {
    const wanted = parseWanted('__txid=000000000000002a', realm(['app.db']));
    assert.deepEqual(wanted, { txids: new Map([['app.db', 42]]), vouched: undefined });
  });

  it('counts behind one that an application has set', () => {
    const where = realm(['app.db']);
    const cookie = cookieOf(new Map([['app.db', 42]]), where);
    for (const other of ['hello', hex(99)]) {
      const wanted = parseWanted(`__txid=${other}; ${cookie}`, where);
      assert.deepEqual([...wanted.txids], [['app.db', 42]]);
    }
  });

  it('is told apart from what an application sets', () => {
    assert(setsTxidCookie(['X-A', 'b', 'set-cookie', '__txid=1; Path=/a']));
    assert(!setsTxidCookie(['Set-Cookie', 'a=__txid=1', 'X-Cookie', '__txid=1']));
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
    const cookie = cookieOf(txids, realm(databases));
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
