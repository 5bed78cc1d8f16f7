/** The proof of the shared secret: what it is worth, and what it is not good for. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { type AuthContext, isProof, PROOF_BYTES, proof } from '../../../src/replication/auth.ts';

const context: AuthContext = {
  clientNonce: Buffer.alloc(32, 1),
  serverNonce: Buffer.alloc(32, 2),
  clientId: '000000000000000a',
  serverId: '000000000000000b',
};

test('a proof is what docs/protocol.md says', () => {
  const expected = createHmac('sha256', 'secret')
    .update('litefs-lite client ')
    .update(Buffer.alloc(32, 1))
    .update(Buffer.alloc(32, 2))
    .update('000000000000000a 000000000000000b')
    .digest();
  assert.deepEqual(proof('secret', 'client', context), expected);
  assert.equal(expected.length, PROOF_BYTES);
});

test('it is accepted from the side, in the connection and with the secret that it was made for, and nowhere else', () => {
  const given = proof('secret', 'client', context);
  assert(isProof(given, 'secret', 'client', context));
  assert(!isProof(given, 'other', 'client', context), 'another secret');
  assert(!isProof(given, undefined, 'client', context), 'no secret');
  assert(!isProof(given, 'secret', 'server', context), 'reflected to the one who made it');
  for (const change of [
    { clientNonce: Buffer.alloc(32, 3) },
    { serverNonce: Buffer.alloc(32, 3) },
    { clientId: '000000000000000c' },
    { serverId: '000000000000000c' },
  ]) {
    assert(!isProof(given, 'secret', 'client', { ...context, ...change }), 'replayed');
  }
  const swapped = { ...context, clientId: context.serverId, serverId: context.clientId };
  assert(!isProof(given, 'secret', 'client', swapped));
  assert(!isProof(given.subarray(1), 'secret', 'client', context), 'too short');
  assert(!isProof(Buffer.concat([given, given]), 'secret', 'client', context), 'too long');
  assert(!isProof(Buffer.alloc(0), 'secret', 'client', context));
});

test('without a secret both sides agree', () => {
  assert(isProof(proof(undefined, 'server', context), undefined, 'server', context));
  assert(!isProof(proof(undefined, 'server', context), 'secret', 'server', context));
});
