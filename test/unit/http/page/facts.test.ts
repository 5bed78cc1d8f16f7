/** What the status page makes of /info: who is where, and what is wrong in plain words. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type {
  AbsentReport,
  DatabaseReport,
  NodeReport,
  ReplicaReport,
  UpstreamReport,
} from '../../../../src/http/info.ts';
import {
  databaseNames,
  nodesOf,
  placeOf,
  troublesOf,
} from '../../../../src/http/page/client/facts.js';
import { clockText } from '../../../../src/http/page/client/words.js';

const NOW_MS = Date.parse('2026-11-24T12:00:14Z');
const GONE_AT = '2026-11-24T12:00:00Z';
const at = (txid: number, checksum = 'a') =>
  `${txid.toString(16).padStart(16, '0')}/${checksum.repeat(16)}`;

const DATABASE: DatabaseReport = {
  name: 'a.db',
  position: at(10),
  pageSize: 4096,
  pages: 3,
  journalMode: 'wal',
  state: 'ok',
  haltHolder: null,
  walBytes: 0,
  log: { bytes: 1, files: 1, firstTxid: '0000000000000001' },
};
const REPLICA: ReplicaReport = {
  nodeId: '2',
  hostname: 'box2',
  version: '0',
  address: '10.0.0.2:1',
  connectedAt: GONE_AT,
  behindMs: 0,
  positions: { 'a.db': at(10) },
};
const ABSENT: AbsentReport = {
  nodeId: '3',
  hostname: 'box3',
  address: '10.0.0.3:1',
  goneAt: GONE_AT,
  behindMs: 0,
  positions: { 'a.db': at(10) },
};
const UPSTREAM: UpstreamReport = {
  address: '10.0.0.1:20204',
  hostname: 'box1',
  version: '0',
  connected: true,
  since: GONE_AT,
  refused: false,
  inSync: true,
  lagMs: 0,
  clockAheadMs: 0,
  error: null,
  positions: { 'a.db': at(10) },
  troubles: [],
};
const primary = (more: Partial<NodeReport> = {}): NodeReport => ({
  clusterID: 'c',
  pid: 1,
  isPrimary: true,
  candidate: true,
  path: '/litefs',
  primary: { hostname: 'box1' },
  version: '0',
  nodeID: '1',
  hostname: 'box1',
  role: 'primary',
  term: 1,
  passthrough: true,
  databases: [DATABASE],
  replicas: [],
  absent: [],
  upstream: null,
  warnings: [],
  ...more,
});
const replica = (upstream: Partial<UpstreamReport>, more: Partial<NodeReport> = {}) =>
  primary({
    isPrimary: false,
    role: 'replica',
    hostname: 'box2',
    nodeID: '2',
    upstream: { ...UPSTREAM, ...upstream },
    ...more,
  });
const troubles = (info: NodeReport) => troublesOf(info, NOW_MS).map(({ text }) => text);
const since = clockText(GONE_AT, NOW_MS);

describe('what is wrong', () => {
  it('is nothing in a healthy cluster', () => {
    assert.deepEqual(troubles(primary({ replicas: [REPLICA] })), []);
    assert.deepEqual(troubles(replica({})), []);
  });

  it('is a replica that is gone, the worse when it lacks something', () => {
    assert.deepEqual(troubles(primary({ absent: [ABSENT] })), [
      `box3 is not connected since ${since}. It has all that was committed.`,
    ]);
    const absent = [{ ...ABSENT, behindMs: 14_000, positions: { 'a.db': at(7) } }];
    assert.deepEqual(troubles(primary({ absent, replicas: [REPLICA] })), [
      `box3 is 14 s behind: not connected since ${since}. It lacks 3 transactions.`,
    ]);
  });

  it('is a replica that does not keep up, but not one for a moment', () => {
    const behind = (behindMs: number) =>
      troubles(primary({ replicas: [{ ...REPLICA, behindMs, positions: { 'a.db': at(9) } }] }));
    assert.deepEqual(behind(900), []);
    assert.deepEqual(behind(65_000), [
      'box2 is 65 s behind, though connected. It lacks 1 transaction.',
    ]);
  });

  it('is a copy with another content at the same transaction', () => {
    const replicas = [{ ...REPLICA, positions: { 'a.db': at(10, 'b') } }];
    assert.match(troubles(primary({ replicas }))[0], /^box2 has another content of a\.db/);
  });

  it('is a database that the primary does not replicate', () => {
    const upstream = { troubles: [{ name: 'a.db', hostname: 'box1', reason: 'damaged' }] };
    const info = replica(upstream, { warnings: ['a.db: box1 does not replicate it'] });
    const [self, first] = nodesOf(info);
    assert.deepEqual([self.mood, self.state], ['warn', 'partly stale']);
    assert.equal(placeOf(info, self, 'a.db').text, 'not replicated');
    assert.equal(placeOf(info, first, 'a.db').text, 'up to date');
    assert.deepEqual(troubles(info), info.warnings);
  });

  it('is said once, also when the node has a warning of it', () => {
    const lost = { connected: false, lagMs: 14_000, error: 'connect ECONNREFUSED 10.0.0.1:20204' };
    const warnings = [
      'not connected to 10.0.0.1:20204: connect ECONNREFUSED 10.0.0.1:20204',
      'b.db: bad',
    ];
    assert.deepEqual(troubles(replica(lost, { warnings })), [
      `box2 is 14 s behind: not connected to box1 (10.0.0.1:20204) since ${since}: ${lost.error}`,
      'b.db: bad',
    ]);
    assert.deepEqual(troubles(replica({ ...lost, refused: true, lagMs: null, error: 'no' })), [
      'box2 has never had everything: box1 (10.0.0.1:20204) refuses it: no',
    ]);
  });
});

describe('nodes', () => {
  it('are this one, the one it follows, and those that follow it or did', () => {
    const info = replica(
      {},
      { replicas: [{ ...REPLICA, nodeId: '4', hostname: 'box4' }], absent: [ABSENT] },
    );
    assert.deepEqual(
      nodesOf(info).map(({ name, role, state }) => [name, role, state]),
      [
        ['box2', 'replica', 'in sync'],
        ['box1', 'primary', 'connected'],
        ['box4', 'replica', 'connected'],
        ['box3', 'replica', 'not connected'],
      ],
    );
  });

  it('of one name are told apart by their addresses', () => {
    const names = nodesOf(primary({ replicas: [{ ...REPLICA, hostname: 'box1' }] }));
    assert.deepEqual(
      names.map(({ name }) => name),
      ['box1', 'box1 (10.0.0.2:1)'],
    );
  });
});

describe('places', () => {
  const placesOf = (info: NodeReport, name = 'a.db') =>
    nodesOf(info).map((node) => placeOf(info, node, name).text);

  it('are compared with the primary', () => {
    const replicas = [{ ...REPLICA, positions: { 'a.db': at(8) } }];
    assert.deepEqual(placesOf(primary({ replicas })), ['up to date', '2 behind']);
    assert.deepEqual(placesOf(replica({ positions: { 'a.db': at(11) } })), [
      '1 behind',
      'up to date',
    ]);
  });

  it('of the primary are as last heard, and may be older than what a replica has', () => {
    assert.deepEqual(placesOf(replica({ positions: { 'a.db': at(9) } })), [
      'up to date',
      'last heard',
    ]);
  });

  it('of a database that is not here yet are shown too', () => {
    const info = replica({ positions: { 'b.db': at(1), 'a.db': at(10) } });
    assert.deepEqual(databaseNames(info), ['a.db', 'b.db']);
    assert.deepEqual(placesOf(info, 'b.db'), ['not there', 'up to date']);
  });
});
