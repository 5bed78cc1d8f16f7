/** Who makes room when there are too many connections: always a stranger, and of those who crowd. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  CONNECTIONS_MAX,
  CONNECTIONS_PER_ADDRESS_MAX,
  Crowd,
  STRANGERS_MAX,
} from '../../../src/replication/crowd.ts';

/** Lets in as many, and has those go that must make room; the names of those. */
function come(crowd: Crowd<string>, names: readonly string[], address: string): string[] {
  return names.flatMap((name) => {
    crowd.enter(name, address);
    const out = crowd.crowdedOut(name);
    if (out === undefined) return [];
    crowd.leave(out);
    return [out];
  });
}

const names = (count: number, what: string) =>
  Array.from({ length: count }, (_, i) => `${what}${i}`);

it('takes strangers of one address in until there are too many, and then for the oldest of them', () => {
  const crowd = new Crowd<string>();
  assert.deepEqual(come(crowd, names(STRANGERS_MAX, 'a'), '10.0.0.1'), []);
  assert.deepEqual(come(crowd, names(3, 'b'), '10.0.0.1'), ['a0', 'a1', 'a2']);
  assert.equal([...crowd].length, STRANGERS_MAX);
});

// On 25311ce the oldest stranger made room, of whatever address: who came often enough kept all others out.
it('keeps a stranger of another address, however many come from one', () => {
  const crowd = new Crowd<string>();
  come(crowd, ['other'], '10.0.0.2');
  const out = come(crowd, names(1000, 'a'), '10.0.0.1');
  assert(!out.includes('other'));
  assert([...crowd].includes('other'));
});

// On 25311ce one address could have all 256.
it('leaves places to other addresses when one has proved who it is, again and again', () => {
  const crowd = new Crowd<string>();
  const known = (list: readonly string[], address: string) => {
    const out = come(crowd, list, address);
    for (const name of list) if (!out.includes(name)) crowd.known(name);
    return out;
  };
  for (const name of names(CONNECTIONS_PER_ADDRESS_MAX, 'a')) known([name], '10.0.0.1');
  assert.deepEqual(known(['one more'], '10.0.0.1'), ['one more']);
  assert.deepEqual(known(['other'], '10.0.0.2'), []);
  for (let i = 3; [...crowd].length < CONNECTIONS_MAX; i++) known([`n${i}`], `10.0.1.${i}`);
  assert.deepEqual(known(['late'], '10.0.9.9'), ['late']);
  assert.equal([...crowd].length, CONNECTIONS_MAX);
});
