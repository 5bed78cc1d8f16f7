/** What is said of an error. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { it } from 'node:test';
import { errorText } from '../../src/errors.ts';

it('of a host with two addresses, of which none answers, names both', async () => {
  const both = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }));
  const lookup = (_: string, __: object, found: (...args: unknown[]) => void) => found(null, both);
  const socket = net.connect({ host: 'box1', port: 1, lookup: lookup as net.LookupFunction });
  const [error] = await once(socket, 'error').catch((thrown) => [thrown]);
  const said = both.map(({ address }) => `connect ECONNREFUSED ${address}:1`);
  assert.equal(errorText(error), said.join(', '));
});
