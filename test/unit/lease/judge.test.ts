/** Which nodes may work together: the whole table. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgePeer, type PeerFacts } from '../../../src/lease/judge.ts';

const server: PeerFacts = {
  nodeId: '0000000000000001',
  clusterId: 'c000000000000001',
  term: 3,
  role: 'primary',
  hostname: 'box1',
};
const replica: PeerFacts = {
  nodeId: '0000000000000002',
  clusterId: 'c000000000000001',
  term: 3,
  role: 'replica',
  hostname: 'box2',
};

const table: [what: string, me: Partial<PeerFacts>, peer: Partial<PeerFacts>, code?: string][] = [
  ['a replica of the same cluster and term', {}, {}],
  ['a replica that has seen an older term only', {}, { term: 2 }],
  ['a replica of no cluster yet', {}, { clusterId: '', term: 0 }],
  ['a replica asks a replica', { role: 'replica' }, {}],
  ['a primary asks a replica: for the session to refuse', { role: 'replica' }, { role: 'primary' }],
  ['a copied data directory', {}, { nodeId: server.nodeId }, 'same-node'],
  [
    'a replica that asks itself',
    { role: 'replica' },
    { nodeId: server.nodeId, hostname: server.hostname },
    'itself',
  ],
  [
    'a copy of a replica that asks the original',
    { role: 'replica' },
    { nodeId: server.nodeId },
    'same-node',
  ],
  [
    'a copy that claims to be primary as well',
    {},
    { nodeId: server.nodeId, role: 'primary' },
    'same-node',
  ],
  ['another cluster', {}, { clusterId: 'c000000000000002' }, 'other-cluster'],
  [
    'another cluster, and a primary',
    {},
    { clusterId: 'c000000000000002', role: 'primary' },
    'other-cluster',
  ],
  ['a primary without databases, and a node of no cluster', { isEmpty: true }, { clusterId: '' }],
  ['a primary without databases, and a node that has heard its id', { isEmpty: true }, {}],
  [
    'a primary without databases, and a node of another cluster',
    { isEmpty: true },
    { clusterId: 'c000000000000002' },
    'other-cluster',
  ],
  [
    'a primary without databases, and another primary',
    { isEmpty: true },
    { clusterId: 'c000000000000002', role: 'primary' },
    'two-primaries',
  ],
  ['two primaries', {}, { role: 'primary' }, 'two-primaries'],
  ['two primaries, one of no cluster', {}, { role: 'primary', clusterId: '' }, 'two-primaries'],
  ['a replica that has seen a later term', {}, { term: 4 }, 'stale-term'],
  [
    'a node of no cluster is asked by one of a later term',
    { clusterId: '' },
    { term: 4 },
    'stale-term',
  ],
];

for (const [what, me, peer, code] of table) {
  test(`${what}: ${code ?? 'together'}`, () => {
    const verdict = judgePeer({ ...server, ...me }, { ...replica, ...peer });
    assert.equal(verdict?.code, code);
    if (verdict) {
      assert.match(verdict.text, /box1/);
      if (verdict.code !== 'itself') assert.match(verdict.text, /box2/);
    }
  });
}

test('a node with databases is not told to remove them for a primary that has none', () => {
  const peer = { ...replica, clusterId: 'c000000000000002' };
  const text = judgePeer({ ...server, isEmpty: true }, peer)?.text ?? '';
  assert.match(text, /box1 is a primary without databases: make box2 the primary if/);
  assert.match(judgePeer(server, peer)?.text ?? '', /empty the data directory of the one that/);
});
