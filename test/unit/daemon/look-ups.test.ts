import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LookUps } from '../../../src/daemon/look-ups.ts';

it('looks up each name that waits once, two at a time, whatever becomes of the others', async () => {
  const begun: string[] = [];
  const held: PromiseWithResolvers<void>[] = [];
  const lookUps = new LookUps((name) => {
    begun.push(name);
    const one = Promise.withResolvers<void>();
    held.push(one);
    return one.promise;
  });
  const end = async (index: number, error?: Error) => {
    if (error) held[index].reject(error);
    else held[index].resolve();
    await new Promise(setImmediate);
  };
  for (const name of ['a', 'b', 'c', '\xff', 'c']) lookUps.add(name);
  assert.deepEqual(begun, ['a', 'b']);
  await end(1, new Error('ENOENT'));
  assert.deepEqual(begun, ['a', 'b', 'c']);
  lookUps.add('c');
  await end(2);
  await end(3);
  assert.deepEqual(begun, ['a', 'b', 'c', '\xff', 'c'], 'asked for while it was under way');
  await end(0);
  await end(4);
  lookUps.add('d');
  assert.equal(begun.at(-1), 'd');
});
