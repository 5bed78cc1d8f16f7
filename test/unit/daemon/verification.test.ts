/** How a replica's verify asks, waits and tries again; and how a primary's reads in parts. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Verification, type VerificationParts } from '../../../src/daemon/verification.ts';
import { LiteFsError } from '../../../src/errors.ts';
import type { OwnPages } from '../../../src/replication/parts.ts';

const AT = { txid: 7, checksum: 0x70n };
const WELL: OwnPages = { position: AT, pages: 3, badPages: [], reason: '' };

let calls: [string, object][];
let position: { txid: number; checksum: bigint };
let listeners: Set<() => void>;
/** What the engine says to each call, in turn. */
let answers: (object | Error)[];
/** What the primary says, in turn. */
let there: (OwnPages | Error)[];

beforeEach(() => {
  calls = [];
  answers = [];
  there = [];
  position = AT;
  listeners = new Set();
});

function node(role: 'primary' | 'replica'): Verification {
  const next = <T>(of: (T | Error)[]): T => {
    const answer = of.shift();
    assert(answer, 'one more was asked for');
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const parts = {
    identity: { role },
    log: { warn() {} },
    engine: {
      positions: () => new Map([['a.db', position]]),
      onPosition(listener: () => void) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      async call(name: string, args: object) {
        calls.push([name, args]);
        return next(answers);
      },
    },
    client: () => ({ verify: async () => next(there) }),
  };
  return new Verification(parts as unknown as VerificationParts);
}

const own = (more: object) => ({
  name: 'a.db',
  position: AT,
  pagesChecked: 3,
  badPages: [],
  ok: true,
  recalled: undefined,
  ...more,
});

describe('a replica', () => {
  it('reads twice at most, however many ask: each of 200 GETs read all pages', async () => {
    const read = () => own({ recalled: AT.checksum });
    [there, answers] = [
      [WELL, WELL],
      [read(), read()],
    ];
    const verification = node('replica');
    const reports = await Promise.all(
      Array.from({ length: 200 }, () => verification.report('a.db')),
    );
    assert(reports.every(({ sameAsPrimary }) => sameAsPrimary));
    assert.equal(calls.length, 2);
  });

  it('reads its own pages once it is where the primary was', async () => {
    position = { txid: 6, checksum: 0x60n };
    there = [WELL];
    answers = [own({ recalled: AT.checksum })];
    const report = node('replica').report('a.db');
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([calls.length, listeners.size], [0, 1]);
    position = { txid: 8, checksum: 0x80n };
    for (const listener of [...listeners]) listener();
    const { sameAsPrimary, notCompared, primary } = await report;
    assert.deepEqual([sameAsPrimary, notCompared], [true, null]);
    assert.equal(primary?.checksumHere, '0000000000000070');
    assert.deepEqual(calls, [['verify', { database: 'a.db', recall: 7 }]]);
    assert.equal(listeners.size, 0);
  });

  it('tries again when the primary went on, and not for ever', async () => {
    there = [WELL, WELL, WELL];
    answers = [own({}), own({ recalled: AT.checksum })];
    assert.equal((await node('replica').report('a.db')).sameAsPrimary, true);
    there = [WELL, WELL, WELL];
    answers = [own({}), own({}), own({})];
    const { ok, sameAsPrimary, notCompared } = await node('replica').report('a.db');
    assert.deepEqual([ok, sameAsPrimary], [true, null]);
    assert.match(notCompared ?? '', /^the primary went on/);
  });

  it('reads its own pages though the primary cannot tell', async () => {
    there = [new LiteFsError('WRONG_STATE', 'it is old', { hint: 'Upgrade it.' })];
    answers = [own({ ok: false, badPages: [2], reason: '1 of 3 pages' })];
    const report = await node('replica').report('a.db');
    assert.deepEqual(report, {
      name: 'a.db',
      position: '0000000000000007/0000000000000070',
      pages: 3,
      ok: false,
      badPages: [2],
      reason: '1 of 3 pages',
      primary: null,
      sameAsPrimary: null,
      notCompared: 'it is old. Upgrade it.',
    });
  });

  it('asks for nothing that is not here', async () => {
    await assert.rejects(node('replica').report('no.db'), { code: 'DATABASE_NOT_FOUND' });
    assert.deepEqual(calls, []);
  });

  it('hands on what the primary says', async () => {
    there = [WELL, new LiteFsError('PEER_UNREACHABLE', 'the connection was lost')];
    const middle = node('replica');
    assert.deepEqual(await middle.primaryPages('a.db'), WELL);
    await assert.rejects(middle.primaryPages('a.db'), { message: 'the connection was lost' });
    assert.deepEqual(calls, []);
  });
});

describe('a primary', () => {
  const part = (more: object) => ({
    position: AT,
    pageSize: 512,
    pagesChecked: 10,
    badCount: 0,
    badPages: [],
    next: undefined,
    ...more,
  });

  it('reads in parts, and is where it is after the last', async () => {
    answers = [
      part({ next: 11, badCount: 2, badPages: [3, 4] }),
      part({ position: { txid: 8, checksum: 0x80n }, badCount: 1, badPages: [15] }),
    ];
    const found = await node('primary').primaryPages('a.db');
    assert.deepEqual(found, {
      position: { txid: 8, checksum: 0x80n },
      pages: 20,
      badPages: [3, 4, 15],
      reason: '3 of 20 pages are not what their checksums say',
    });
    const from = calls.map(([name, args]) => [name, (args as { from: number }).from]);
    assert.deepEqual(from, [
      ['verifyPart', 1],
      ['verifyPart', 11],
    ]);
  });

  it('compares with nobody', async () => {
    answers = [part({})];
    const { ok, primary, sameAsPrimary, notCompared } = await node('primary').report('a.db');
    assert.deepEqual([ok, primary, sameAsPrimary, notCompared], [true, null, null, null]);
  });

  it('cannot tell of a database that became another one meanwhile', async () => {
    answers = [part({ next: 11 }), part({ pageSize: 1024 })];
    await assert.rejects(node('primary').report('a.db'), { code: 'DATABASE_BUSY' });
    answers = [new LiteFsError('DATABASE_NOT_FOUND', 'there is no database a.db')];
    const told = { code: 'WRONG_STATE', message: 'on the primary: there is no database a.db' };
    await assert.rejects(node('primary').primaryPages('a.db'), told);
  });
});
