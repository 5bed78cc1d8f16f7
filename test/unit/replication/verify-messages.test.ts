/** VERIFIED: what is written is read again, docs/protocol.md has it the same, and what makes no sense is refused. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { LiteFsError } from '../../../src/errors.ts';
import {
  decodeVerified,
  encodeVerified,
  type Verified,
} from '../../../src/replication/verify-messages.ts';

const u32 = fc.nat({ max: 0xffffffff });
const sentence = fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' });
const read = {
  position: fc.record(
    { txid: fc.maxSafeNat(), checksum: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
    { noNullPrototype: true },
  ),
  pages: u32,
};
const found: fc.Arbitrary<Verified['found']> = fc.oneof(
  fc.record({ unknown: sentence }, { noNullPrototype: true }),
  fc.record(
    { ...read, badPages: fc.constant([]), reason: fc.constant('') },
    { noNullPrototype: true },
  ),
  fc.record(
    { ...read, badPages: fc.array(u32, { maxLength: 100 }), reason: sentence },
    { noNullPrototype: true },
  ),
);

/** One of page 3, and two more. */
const EXAMPLE: Verified = {
  database: 'app.db',
  id: 7,
  found: {
    position: { txid: 0x1a, checksum: 0x8bb3be79b23839e6n },
    pages: 12,
    badPages: [3],
    reason: 'bad',
  },
};

const isProtocolError = (error: unknown) =>
  error instanceof LiteFsError && error.code === 'PROTOCOL';

test('what is written is read again, and nothing that is cut off', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), found, fc.nat(), (id, what, at) => {
      const verified = { database: 'a/b.db', id, found: what };
      const payload = encodeVerified(verified);
      assert.deepEqual(decodeVerified(payload), verified);
      assert.throws(
        () => decodeVerified(payload.subarray(0, at % payload.length)),
        isProtocolError,
      );
    }),
  );
});

test('whatever comes is read or refused', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 80 }),
      fc.nat(),
      fc.nat({ max: 255 }),
      (noise, at, to) => {
        const bent = encodeVerified(EXAMPLE);
        bent[at % bent.length] = to;
        for (const payload of [Buffer.from(noise), bent]) {
          try {
            decodeVerified(payload);
          } catch (error) {
            assert(isProtocolError(error), String(error));
          }
        }
      },
    ),
  );
});

test('the VERIFIED in docs/protocol.md is ours', () => {
  const file = path.resolve(import.meta.dirname, '../../../docs/protocol.md');
  const dump = /A VERIFIED, in hex:\n\n((?: {4}.*\n)+)/.exec(fs.readFileSync(file, 'utf8'))?.[1];
  assert.equal(
    encodeVerified(EXAMPLE).toString('hex'),
    dump?.replaceAll(/\s/g, ''),
    'the document has it',
  );
});

test('an answer that contradicts itself is none', () => {
  const outcomeAt = 2 + 'app.db'.length + 8;
  const bent = (verified: Verified, outcome: number) => {
    const payload = encodeVerified(verified);
    payload[outcomeAt] = outcome;
    return payload;
  };
  const wrong = bent(EXAMPLE, 2);
  assert.deepEqual(decodeVerified(wrong), EXAMPLE);
  assert.throws(() => decodeVerified(bent(EXAMPLE, 1)), isProtocolError, 'well, with a reason');
  assert.throws(() => decodeVerified(bent(EXAMPLE, 3)), isProtocolError, 'an outcome to come');
  const well = { ...EXAMPLE, found: { ...EXAMPLE.found, badPages: [], reason: '' } } as Verified;
  for (const outcome of [0, 2]) {
    assert.throws(() => decodeVerified(bent(well, outcome)), isProtocolError, 'without a reason');
  }
});
