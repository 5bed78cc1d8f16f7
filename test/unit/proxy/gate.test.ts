import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { descriptorBounds, Gate } from '../../../src/proxy/gate.ts';

const SETTINGS = { connectionsMax: 5, connectionsPerAddressMax: 2, descriptorsMax: 1000 };
const few = () => false;

describe('the gate', () => {
  it('lets in so many for one address, and more once they have gone', () => {
    const gate = new Gate(SETTINGS, few);
    assert.equal(gate.enter('10.0.0.1', 10), undefined);
    assert.equal(gate.enter('10.0.0.1', 11), undefined);
    assert.match(gate.enter('10.0.0.1', 12) ?? '', /max-connections-per-address/);
    assert.equal(gate.enter('10.0.0.2', 12), undefined);
    gate.leave('10.0.0.1');
    assert.equal(gate.enter('10.0.0.1', 11), undefined);
  });

  it('counts the addresses of one network of IPv6 as one', () => {
    const gate = new Gate(SETTINGS, few);
    gate.enter('2001:db8::1', 10);
    gate.enter('2001:db8::2', 11);
    assert.notEqual(gate.enter('2001:db8::3', 12), undefined);
    assert.equal(gate.enter('2001:db8:0:1::3', 12), undefined);
  });

  it('lets in any number where many are behind one address, up to that in all', () => {
    const gate = new Gate(SETTINGS, (address) => address === '10.0.0.1');
    for (let i = 0; i < 5; i++) assert.equal(gate.enter('10.0.0.1', 10 + i), undefined);
    assert.match(gate.enter('10.0.0.1', 15) ?? '', /max-connections\)/);
    assert.match(gate.enter('10.0.0.2', 15) ?? '', /max-connections\)/);
  });

  it('lets nobody in when descriptors are short, whoever it is', () => {
    const gate = new Gate(SETTINGS, () => true);
    assert.equal(gate.enter('10.0.0.1', 749), undefined);
    assert.match(gate.enter('10.0.0.1', 750) ?? '', /descriptors are short/);
    assert.equal(gate.count, 1);
  });

  it('has no limits that are 0, and none of descriptors that nobody knows', () => {
    const gate = new Gate(
      { connectionsMax: 0, connectionsPerAddressMax: 0, descriptorsMax: Infinity },
      few,
    );
    for (let i = 0; i < 10_000; i++) assert.equal(gate.enter('10.0.0.1', i), undefined);
  });

  it('never counts more than its limits, whoever comes and goes', () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.constantFrom('a', 'b', 'c', 'd')));
    fc.assert(
      fc.property(steps, (list) => {
        const gate = new Gate(SETTINGS, few);
        const inside: string[] = [];
        for (const [isComing, who] of list) {
          if (isComing) {
            if (gate.enter(who, 1) === undefined) inside.push(who);
          } else if (inside.includes(who)) {
            inside.splice(inside.indexOf(who), 1);
            gate.leave(who);
          }
          assert.equal(gate.count, inside.length);
          assert(inside.length <= 5);
          assert(inside.filter((each) => each === who).length <= 2);
        }
      }),
    );
  });
});

describe('descriptors', () => {
  it('are left to the node: a quarter, at most 4,096; and to who was let in, half of that', () => {
    assert.deepEqual(descriptorBounds(1024), { client: 768, upstream: 896 });
    assert.deepEqual(descriptorBounds(1_000_000), { client: 995_904, upstream: 997_952 });
    assert.deepEqual(descriptorBounds(Infinity), { client: Infinity, upstream: Infinity });
  });
});
