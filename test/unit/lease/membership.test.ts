/** To which cluster a node belongs when it starts: the whole table. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { membershipAtStart } from '../../../src/lease/membership.ts';

const ROLES = ['primary', 'replica'] as const;
const HOLDINGS = ['databases', 'nothing', 'unknown'] as const;
const NONE = { clusterId: '', term: 0 };
const A = { clusterId: 'a000000000000001', term: 3 };
const NEW = 'f000000000000001';

const begin = (
  stored: { clusterId: string; term: number },
  role: (typeof ROLES)[number],
  holding: (typeof HOLDINGS)[number],
) => membershipAtStart(stored, { role, holding }, () => NEW);

test('a replica that holds nothing belongs to none, whatever its node.json says', () => {
  assert.deepEqual(begin(A, 'replica', 'nothing'), NONE);
  assert.deepEqual(begin(NONE, 'replica', 'nothing'), NONE);
});

test('a node with databases, or one that cannot tell, keeps its cluster and term in every role', () => {
  for (const role of ROLES) {
    for (const holding of ['databases', 'unknown'] as const) {
      assert.deepEqual(begin(A, role, holding), A, `${role}, ${holding}`);
    }
  }
});

test('a primary keeps the id under which it will found, so that those that have heard of it stay', () => {
  assert.deepEqual(begin(A, 'primary', 'nothing'), A);
});

test('a primary of no cluster draws an id, with databases or without', () => {
  for (const holding of HOLDINGS) {
    assert.deepEqual(begin(NONE, 'primary', holding), { clusterId: NEW, term: 1 }, holding);
  }
});

test('a replica founds nothing: databases that were put past a primary are of no cluster', () => {
  for (const holding of HOLDINGS) assert.deepEqual(begin(NONE, 'replica', holding), NONE, holding);
});
