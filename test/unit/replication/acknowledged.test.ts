/** Since when a replica has had all that this node has. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Position } from '../../../src/ltx/position.ts';
import { Acknowledged } from '../../../src/replication/acknowledged.ts';

const at = (txid: number): Position => ({ txid, checksum: BigInt(txid) });

it('asks for all positions only when they, or what was acknowledged, may be others', () => {
  let nowMs = 0;
  let revision = 1;
  let looks = 0;
  const database = new Map([['a.db', at(1)]]);
  const ours = () => ({
    revision,
    positions() {
      looks++;
      return database;
    },
  });
  const acked = new Acknowledged({ monotonicMs: () => nowMs });
  nowMs = 1000;
  assert.equal(acked.behindMs(ours()), 1000);
  acked.set('a.db', at(1));
  assert.equal(acked.behindMs(ours()), 0);
  looks = 0;
  for (let i = 0; i < 5; i++) {
    nowMs += 1000;
    assert.equal(acked.behindMs(ours()), 0);
  }
  assert.equal(looks, 0);
  database.set('a.db', at(2));
  revision++;
  nowMs += 1000;
  // It has had what there was until a moment ago.
  assert.equal(acked.behindMs(ours()), 1000);
  acked.set('a.db', at(2));
  assert.equal(acked.behindMs(ours()), 0);
  // It says that it has less than it had.
  acked.set('a.db', at(1));
  nowMs += 500;
  assert.equal(acked.behindMs(ours()), 500);
});
