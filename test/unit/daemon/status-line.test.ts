/** What `systemctl status` says of a node that serves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Following, type ServedNode, statusLine } from '../../../src/daemon/status-line.ts';

const primary: ServedNode = {
  role: 'primary',
  mountDir: '/litefs',
  followers: 0,
  following: undefined,
};
const replica = (following: Partial<Following>, followers = 0): string =>
  statusLine({
    role: 'replica',
    mountDir: '/litefs',
    followers,
    following: { name: 'box1', away: undefined, inSync: true, lagMs: 0, ...following },
  });

test('a primary, and how many follow it', () => {
  assert.equal(statusLine(primary), 'primary, mounted on /litefs');
  const followed = statusLine({ ...primary, followers: 1 });
  assert.equal(followed, 'primary, mounted on /litefs; followed by 1 node');
  assert.match(statusLine({ ...primary, followers: 2 }), /followed by 2 nodes$/);
});

test('a replica, and how it gets on with its primary', () => {
  for (const [following, text] of [
    [{}, 'in sync with box1'],
    [{ lagMs: 2400 }, 'in sync with box1'],
    [{ lagMs: 12_400 }, '12 s behind box1'],
    [{ inSync: false, lagMs: undefined }, 'connected to box1, not in sync yet'],
    [{ inSync: false, lagMs: 900 }, 'connected to box1, not in sync yet'],
    [{ away: 'refused by 10.0.0.1:20204: no', inSync: false }, 'refused by 10.0.0.1:20204: no'],
  ] as const) {
    assert.equal(replica(following), `replica, mounted on /litefs; ${text}`);
  }
  assert.match(replica({}, 3), /; in sync with box1; followed by 3 nodes$/);
});
