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
  acked.set('a.db', at(1), database.get('a.db'));
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
  acked.set('a.db', at(2), database.get('a.db'));
  assert.equal(acked.behindMs(ours()), 0);
  // It says that it has less than it had.
  acked.set('a.db', at(1), database.get('a.db'));
  nowMs += 500;
  assert.equal(acked.behindMs(ours()), 500);
});

// On 25311ce a replica that said it had transaction 9007199254740991 was shown as one that has everything.
it('takes no word for what this node never had', () => {
  let nowMs = 0;
  const database = new Map([['a.db', at(5)]]);
  const ours = { revision: 1, positions: () => database };
  for (const claim of [at(6), at(Number.MAX_SAFE_INTEGER), { txid: 5, checksum: 1n }]) {
    nowMs = 0;
    const acked = new Acknowledged({ monotonicMs: () => nowMs });
    acked.set('a.db', claim, at(5));
    nowMs = 1000;
    assert.equal(acked.behindMs(ours), 1000);
    assert.equal(acked.shown(database).has('a.db'), claim.txid === 5);
    // What was said is where the replica is all the same, until it says another thing.
    assert.equal(acked.get('a.db'), claim);
    acked.set('a.db', at(5), at(5));
    assert.equal(acked.behindMs(ours), 0);
  }
  const acked = new Acknowledged({ monotonicMs: () => nowMs });
  acked.set('made-up.db', at(3), undefined);
  assert.deepEqual(acked.shown(database), new Map());
});
