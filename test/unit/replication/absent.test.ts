/** What is told of nodes that have followed this one and are gone. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Absentees } from '../../../src/replication/absent.ts';
import type { ReplicaInfo } from '../../../src/replication/parts.ts';

const DAY_MS = 24 * 3600_000;

describe('absent nodes', () => {
  let nowMs: number;
  let absentees: Absentees;
  beforeEach(() => {
    nowMs = 1000;
    absentees = new Absentees({ wallMs: () => 5_000_000 + nowMs, monotonicMs: () => nowMs });
  });
  const node = (nodeId: string, more: Partial<ReplicaInfo> = {}): ReplicaInfo => ({
    nodeId,
    hostname: `box${nodeId}`,
    release: '1',
    address: '10.0.0.2:1',
    connectedAtMs: 0,
    behindMs: 0,
    positions: new Map([['a.db', { txid: 3, checksum: 3n }]]),
    wants: () => true,
    ...more,
  });
  const behind = () => absentees.list().map(({ nodeId, behindMs }) => [nodeId, behindMs]);

  it('are behind from the first commit that they do not get', () => {
    absentees.left(node('2'));
    nowMs += 60_000;
    assert.deepEqual(behind(), [['2', 0]]);
    absentees.committed('a.db');
    nowMs += 14_000;
    absentees.committed('a.db');
    assert.deepEqual(behind(), [['2', 14_000]]);
    assert.equal(absentees.list()[0].goneAtMs, 5_001_000);
    absentees.returned('2');
    assert.deepEqual(behind(), []);
  });

  it('were behind before they went, or do not want what is committed', () => {
    absentees.left(node('2', { behindMs: 500 }));
    absentees.left(node('3', { wants: (name) => name === 'b.db' }));
    absentees.committed('a.db');
    nowMs += 1000;
    assert.deepEqual(behind(), [
      ['2', 1500],
      ['3', 0],
    ]);
  });

  it('keep the positions that they had', () => {
    const positions = new Map([['a.db', { txid: 3, checksum: 3n }]]);
    absentees.left(node('2', { positions }));
    positions.clear();
    assert.equal(absentees.list()[0].positions.size, 1);
  });

  it('are forgotten after a week, and when there are very many', () => {
    absentees.left(node('2'));
    nowMs += 6 * DAY_MS;
    for (let i = 0; i < 255; i++) absentees.left(node(`n${i}`));
    assert.equal(behind().length, 256);
    nowMs += 2 * DAY_MS;
    assert.equal(behind().length, 255);
    absentees.left(node('x'));
    absentees.left(node('y'));
    assert.equal(behind().length, 256);
    assert(!behind().some(([nodeId]) => nodeId === 'n0'));
  });
});
