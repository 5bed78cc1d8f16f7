import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { crowdOf, plainAddress, TrustedAddresses } from '../../../src/os/addresses.ts';

describe('an address', () => {
  for (const [address, plain] of [
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['::FFFF:10.1.2.3', '10.1.2.3'],
    ['10.1.2.3', '10.1.2.3'],
    ['2001:db8::1', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    [undefined, 'unknown'],
  ] as const) {
    it(`is written ${plain} when the socket says ${address}`, () =>
      assert.equal(plainAddress(address), plain));
  }

  for (const [address, crowd] of [
    ['10.1.2.3', '10.1.2.3'],
    ['unknown', 'unknown'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['64:ff9b::1.2.3.4', '64:ff9b:0:0::/64'],
  ] as const) {
    it(`${address} is one of ${crowd}`, () => assert.equal(crowdOf(address), crowd));
  }

  it('of IPv6 is in one crowd with those that have its first 64 bits, and in no other', () => {
    fc.assert(
      fc.property(fc.ipV6(), fc.ipV6(), (a, b) => {
        const network = new net.BlockList();
        network.addSubnet(a, 64, 'ipv6');
        assert.equal(crowdOf(a) === crowdOf(b), network.check(b, 'ipv6'));
      }),
    );
  });
});

describe('trusted addresses', () => {
  const trusted = new TrustedAddresses([
    { address: '10.0.0.0', prefix: 8 },
    { address: '192.168.1.5', prefix: 32 },
    { address: 'fd00::', prefix: 8 },
  ]);
  it('are those of the ranges', () => {
    for (const yes of ['10.0.0.0', '10.255.255.255', '192.168.1.5', 'fd12::1']) {
      assert(trusted.has(yes), yes);
    }
    for (const no of ['11.0.0.0', '192.168.1.6', 'fe80::1', '::1', 'unknown', '', '10.0.0.1:80']) {
      assert(!trusted.has(no), no);
    }
  });

  it('are none by default', () => {
    const none = new TrustedAddresses([]);
    for (const address of ['127.0.0.1', '::1', 'unknown']) assert(!none.has(address));
  });
});
