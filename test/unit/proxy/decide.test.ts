import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Wanted } from '../../../src/proxy/cookie.ts';
import {
  type Decision,
  type DecisionInput,
  type DecisionSettings,
  decide,
  missingTxids,
  type NodeFacts,
  type PrimaryWord,
} from '../../../src/proxy/decide.ts';

const URL = 'http://10.0.0.1:20200';
const vouched = { term: 3, settledMs: 10_000 };
const wants = (txid: number): Wanted => ({ txids: new Map([['a.db', txid]]), vouched });
const READ: DecisionInput = {
  kind: 'read',
  wanted: { txids: new Map(), vouched: undefined },
  forwarded: false,
  target: '/a?b',
};
const WRITE: DecisionInput = { ...READ, kind: 'write' };
const STALE: DecisionInput = { ...READ, wanted: wants(8) };
const PRIMARY: NodeFacts = {
  isPrimary: true,
  hostname: 'box1',
  primaryHostname: 'box1',
  primaryUrl: undefined,
  txids: new Map([['a.db', 7]]),
  heard: () => ({ txids: new Map([['a.db', 7]]), said: undefined }),
};
const REPLICA: NodeFacts = { ...PRIMARY, isPrimary: false, hostname: 'box2', primaryUrl: URL };
const BY_TLS: NodeFacts = { ...REPLICA, primaryUrl: 'https://box1/' };
const LOST: NodeFacts = { ...REPLICA, primaryHostname: undefined, primaryUrl: undefined };
const DEFAULTS: DecisionSettings = { onWrite: 'forward', onStale: 'forward' };

const here = { to: 'target', cookie: false, marked: true } as const;
const away = { to: 'primary', url: URL } as const;

describe('where a request goes', () => {
  const table: [
    title: string,
    input: DecisionInput,
    node: NodeFacts,
    settings: Partial<DecisionSettings>,
    waited: boolean,
    decision: Decision | number,
  ][] = [
    ['a read on the primary', READ, PRIMARY, {}, false, here],
    ['a read there with a newer cookie', STALE, PRIMARY, {}, false, here],
    ['a write on the primary', WRITE, PRIMARY, {}, false, { ...here, cookie: true }],
    [
      'a forwarded write on the primary',
      { ...WRITE, forwarded: true },
      PRIMARY,
      {},
      false,
      { ...here, cookie: true },
    ],
    ['a read on a replica', READ, REPLICA, {}, false, here],
    ['a write when the primary is reached by TLS', WRITE, BY_TLS, {}, false, 502],
    ['a read that is too far behind then', STALE, BY_TLS, {}, true, 502],
    [
      'a write that is redirected then',
      WRITE,
      BY_TLS,
      { onWrite: 'redirect' },
      false,
      { to: 'redirect', location: 'https://box1/a?b' },
    ],
    ['a read on a replica that is as far', { ...READ, wanted: wants(7) }, REPLICA, {}, false, here],
    [
      'a read on a replica that is behind',
      STALE,
      REPLICA,
      {},
      false,
      { to: 'wait', txids: new Map([['a.db', 8]]) },
    ],
    ['the same after waiting', STALE, REPLICA, {}, true, away],
    ['the same, on-stale 504', STALE, REPLICA, { onStale: '504' }, true, 504],
    ['the same without a primary', STALE, LOST, {}, true, 504],
    ['a write on a replica', WRITE, REPLICA, {}, false, away],
    [
      'the same, on-write redirect',
      WRITE,
      REPLICA,
      { onWrite: 'redirect' },
      false,
      { to: 'redirect', location: `${URL}/a?b` },
    ],
    [
      'the same, on-write fly-replay',
      WRITE,
      REPLICA,
      { onWrite: 'fly-replay' },
      false,
      { to: 'fly-replay', instance: 'box1' },
    ],
    ['a write without a primary', WRITE, LOST, {}, false, { to: 'wait-for-primary' }],
    ['the same after waiting', WRITE, LOST, {}, true, 503],
    ['a write forwarded to a replica', { ...WRITE, forwarded: true }, REPLICA, {}, false, 508],
    [
      'passthrough on a replica',
      { ...WRITE, kind: 'passthrough' },
      LOST,
      {},
      false,
      { to: 'target', cookie: false, marked: false },
    ],
  ];
  for (const [title, input, node, settings, waited, expected] of table) {
    it(title, () => {
      const decision = decide(input, node, { ...DEFAULTS, ...settings }, waited);
      if (typeof expected === 'number') {
        assert(decision.to === 'refuse');
        assert.equal(decision.status, expected);
        assert.match(decision.reason, /^box2 [^\n]+$/);
      } else assert.deepEqual(decision, expected);
    });
  }

  it('of a redirect is the primary, whatever the target', () => {
    for (const target of ['//evil.example/x', 'http://evil.example/x', '/@evil.example', '*']) {
      const settings = { ...DEFAULTS, onWrite: 'redirect' } as const;
      const decision = decide({ ...WRITE, target }, REPLICA, settings, false);
      assert(decision.to === 'redirect');
      assert.equal(new globalThis.URL(decision.location).origin, URL);
    }
  });

  it('is never the application of a replica for a write, nor for a read that it is behind', () => {
    const any = fc.record({
      input: fc.constantFrom(WRITE, STALE, { ...WRITE, forwarded: true }),
      node: fc.constantFrom(REPLICA, LOST),
      onWrite: fc.constantFrom('forward', 'redirect', 'fly-replay'),
      onStale: fc.constantFrom('forward', '504'),
      waited: fc.boolean(),
    });
    fc.assert(
      fc.property(any, ({ input, node, onWrite, onStale, waited }) => {
        const decision = decide(input, node, { onWrite, onStale }, waited);
        assert.notEqual(decision.to, 'target');
        const waits = decision.to === 'wait' || decision.to === 'wait-for-primary';
        assert(!waits || !waited, 'waits once');
      }),
    );
  });
});

describe('what is waited for', () => {
  const missing = (wanted: Wanted, said: PrimaryWord['said'], primary: number) => {
    const heard = () => ({ txids: new Map([['a.db', primary]]), said });
    return missingTxids(wanted, { ...REPLICA, heard }).size > 0;
  };
  const byNobody = (txid: number): Wanted => ({ ...wants(txid), vouched: undefined });
  const table: [
    title: string,
    wanted: Wanted,
    said: PrimaryWord['said'],
    primary: number,
    is: boolean,
  ][] = [
    ['what is here', wants(7), undefined, 9, false],
    ['what nobody vouches for, beyond the primary', byNobody(8), undefined, 7, false],
    ['what anybody made up', byNobody(0x1fffffffffffff), { term: 3, atMs: 99_000 }, 9, false],
    ['what nobody vouches for, and the primary has', byNobody(9), undefined, 9, true],
    ['what was written, and not told of yet', wants(8), undefined, 7, true],
    ['the same, by a primary that spoke before', wants(8), { term: 3, atMs: 9999 }, 7, true],
    ['the same, by one whose clock may differ a bit', wants(8), { term: 3, atMs: 11_999 }, 7, true],
    ['what the primary has lost since', wants(8), { term: 3, atMs: 12_001 }, 7, false],
    ['what it had, though it spoke since', wants(8), { term: 3, atMs: 12_001 }, 8, true],
    ['what the primary before it has lost', wants(8), { term: 4, atMs: 1 }, 7, false],
    ['what a later primary has', wants(8), { term: 2, atMs: 99_000 }, 7, true],
  ];
  for (const [title, wanted, said, primary, is] of table) {
    it(`${is ? 'is' : 'is not'} ${title}`, () => assert.equal(missing(wanted, said, primary), is));
  }

  it('never is what nobody vouches for and the primary has not', () => {
    const txid = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
    const said = fc.record({ term: fc.nat(9), atMs: fc.nat(99_999) });
    fc.assert(
      fc.property(txid, fc.nat(), fc.option(said, { nil: undefined }), (wanted, primary, word) => {
        assert.equal(missing(byNobody(wanted), word, primary), wanted > 7 && wanted <= primary);
      }),
    );
  });
});
