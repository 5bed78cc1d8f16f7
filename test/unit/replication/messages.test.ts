/** Payloads: what is written is read again, docs/protocol.md has it the same, and damaged ones are refused. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { LiteFsError } from '../../../src/errors.ts';
import * as messages from '../../../src/replication/messages.ts';

/** Plain objects, as the codecs make them. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

const text = fc.string({ maxLength: 60, unit: 'grapheme' });
const name = fc
  .array(
    fc.stringMatching(/^[a-z\xe9.\x80]{1,8}$/).filter((part) => part !== '.' && part !== '..'),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  .map((parts) => parts.join('/'));
const id = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }).map((n) => n.toString(16).padStart(16, '0'));
const position = record({
  txid: fc.maxSafeNat(),
  checksum: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});
const positions = fc.array(fc.tuple(name, position), { maxLength: 8 }).map((list) => new Map(list));
const u32 = fc.nat({ max: 0xffffffff });
const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));

interface Codec {
  readonly what: string;
  readonly values: fc.Arbitrary<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: a codec of each payload, each with a type of its own
  readonly encode: (value: any) => Buffer;
  readonly decode: (payload: Buffer) => unknown;
}

const CODECS: Codec[] = [
  {
    what: 'TROUBLES',
    values: fc.array(record({ database: name, hostname: text, reason: text }), { maxLength: 8 }),
    encode: messages.encodeTroubles,
    decode: messages.decodeTroubles,
  },
  {
    what: 'HELLO',
    values: record({
      features: u32,
      role: fc.constantFrom('primary', 'replica'),
      nodeId: id,
      clusterId: fc.oneof(id, fc.constant('')),
      term: fc.maxSafeNat(),
      nonce: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((array) => Buffer.from(array)),
      hostname: text,
      primaryHostname: text,
      advertiseUrl: text,
      primaryProxy: text,
      release: text,
    }),
    encode: messages.encodeHello,
    decode: messages.decodeHello,
  },
  {
    what: 'REJECT',
    values: record({ code: text, text }),
    encode: ({ code, text }) => messages.encodeReject(code, text),
    decode: messages.decodeReject,
  },
  {
    what: 'SUBSCRIBE',
    values: record({
      positions,
      patterns: fc.option(fc.array(text, { maxLength: 5 }), { nil: undefined }),
    }),
    encode: messages.encodeSubscription,
    decode: messages.decodeSubscription,
  },
  {
    what: 'SUBSCRIBED and ACK',
    values: positions,
    encode: messages.encodePositions,
    decode: messages.decodePositions,
  },
  {
    what: 'HEARTBEAT',
    values: record({ clockMs: fc.maxSafeNat(), lagMs: u32, positions }),
    encode: messages.encodeHeartbeat,
    decode: messages.decodeHeartbeat,
  },
  {
    what: 'ENTRY, ENTRY_CHUNK and PAGES',
    values: record({ database: name, bytes }),
    encode: ({ database, bytes }) => Buffer.concat(messages.encodeNamed(database, bytes)),
    decode: messages.decodeNamed,
  },
  {
    what: 'ENTRY_BEGIN',
    values: record({ database: name, length: fc.maxSafeNat() }),
    encode: ({ database, length }) => messages.encodeEntryBegin(database, length),
    decode: messages.decodeEntryBegin,
  },
  {
    what: 'CHECKSUMS',
    values: record({ database: name, last: fc.boolean(), pageSize: u32, bytes }),
    encode: ({ database, ...part }) => messages.encodeChecksums(database, part),
    decode: messages.decodeChecksums,
  },
  {
    what: 'RESYNC_BEGIN',
    values: record({
      database: name,
      position,
      pageSize: u32,
      pageCount: u32,
      diverged: fc.boolean(),
      reason: text,
    }),
    encode: messages.encodeResyncBegin,
    decode: messages.decodeResyncBegin,
  },
  {
    what: 'RESYNC_END',
    values: record({ database: name, position }),
    encode: ({ database, position }) => messages.encodeNamedPosition(database, position),
    decode: messages.decodeNamedPosition,
  },
  {
    what: 'REQUEST',
    values: record({ database: name, position, pages: fc.boolean() }),
    encode: ({ database, position, pages }) => messages.encodeRequest(database, position, pages),
    decode: messages.decodeRequest,
  },
  {
    what: 'DROPPED',
    values: record({ database: name, diverged: fc.boolean() }),
    encode: ({ database, diverged }) => messages.encodeDropped(database, diverged),
    decode: messages.decodeDropped,
  },
  {
    what: 'HALT',
    values: record({ database: name, id: fc.maxSafeNat(), waitMs: u32 }),
    encode: messages.encodeHalt,
    decode: messages.decodeHalt,
  },
  {
    what: 'HALTED',
    values: record({ database: name, id: fc.maxSafeNat(), position, error: text }),
    encode: messages.encodeHalted,
    decode: messages.decodeHalted,
  },
  {
    what: 'UNHALT',
    values: record({ database: name, id: fc.maxSafeNat() }),
    encode: ({ database, id: lock }) => messages.encodeNamedId(database, lock),
    decode: messages.decodeNamedId,
  },
  {
    what: 'COMMITTED',
    values: record({ database: name, position, error: text }),
    encode: messages.encodeCommitted,
    decode: messages.decodeCommitted,
  },
];

/** Bytes at the end that are of any length: cut off, they are still a payload. */
const OPEN_ENDED = new Set(['ENTRY, ENTRY_CHUNK and PAGES', 'CHECKSUMS']);

for (const { what, values, encode, decode } of CODECS) {
  describe(what, () => {
    test('is read as it was written', () => {
      fc.assert(fc.property(values, (value) => assert.deepEqual(decode(encode(value)), value)));
    });

    test('is refused when it is cut off, and never misread into something else than a refusal', () => {
      fc.assert(
        fc.property(values, fc.nat(), (value, at) => {
          const whole = encode(value);
          const cut = whole.subarray(0, at % whole.length);
          if (OPEN_ENDED.has(what)) refusedOrRead(decode, cut);
          else assert.throws(() => decode(cut), isRefusal);
        }),
      );
    });

    test('of arbitrary bytes is refused or read', () => {
      fc.assert(fc.property(bytes, (payload) => refusedOrRead(decode, payload)));
    });
  });
}

test('a path that leads out of the mount is no name', () => {
  for (const bad of ['', '/a', 'a/', 'a//b', '.', '..', 'a/../b', '../a', 'a\0b']) {
    const payload = Buffer.concat(messages.encodeNamed(bad, Buffer.alloc(0)));
    assert.throws(() => messages.decodeNamed(payload), isRefusal, JSON.stringify(bad));
  }
});

test('numbers that announce too much are refused before anything is allocated for them', () => {
  const many = Buffer.from('ffffffff', 'hex');
  assert.throws(() => messages.decodePositions(many), /a list of 4294967295 databases/);
  const patterns = Buffer.from('0000000001ffffffff', 'hex');
  assert.throws(() => messages.decodeSubscription(patterns), /a list of 4294967295 patterns/);
  const txid = Buffer.concat([messages.encodeName('a'), Buffer.alloc(16, 0xff)]);
  assert.throws(() => messages.decodeNamedPosition(txid), /out of range/);
});

test('a HELLO of another version says both versions', () => {
  const payload = Buffer.from('4c46534c0007', 'hex');
  assert.equal(messages.helloVersion(payload), 7);
  assert.throws(
    () => messages.decodeHello(payload),
    /version 7 of the protocol, this node version 1/,
  );
  assert.throws(() => messages.helloVersion(Buffer.from('SSH-2.0-')), /no litefs-lite node/);
});

test('the HELLO in docs/protocol.md is ours', () => {
  const document = fs.readFileSync(
    path.resolve(import.meta.dirname, '../../../docs/protocol.md'),
    'utf8',
  );
  const dump = /A HELLO, in hex:\n\n((?: {4}.*\n)+)/.exec(document)?.[1] ?? '';
  const payload = Buffer.from(dump.replaceAll(/\s/g, ''), 'hex');
  const hello = {
    features: 1,
    role: 'replica' as const,
    nodeId: '00000000000000b2',
    clusterId: '00000000000000c1',
    term: 3,
    nonce: Buffer.alloc(32, 0xab),
    hostname: 'box2',
    primaryHostname: '',
    advertiseUrl: 'http://box1:20202/',
    primaryProxy: '',
    release: '0.1.0',
  };
  assert.equal(messages.encodeHello(hello).toString('hex'), payload.toString('hex'));
  assert.deepEqual(messages.decodeHello(payload), hello);
});

test('a name and bytes are the same in pieces, wherever they are cut', () => {
  fc.assert(
    fc.property(name, bytes, fc.array(fc.nat({ max: 400 })), (database, content, cuts) => {
      const payload = Buffer.concat(messages.encodeNamed(database, content));
      const at = [0, ...cuts.filter((cut) => cut <= payload.length).sort((a, b) => a - b)];
      const pieces = at.map((from, i) => payload.subarray(from, at[i + 1]));
      const read = messages.decodeNamedParts(pieces);
      assert.equal(read.database, database);
      assert(Buffer.concat(read.parts).equals(content));
      assert.equal(messages.bytesOf(read.parts), content.length);
    }),
  );
  assert.throws(() => messages.decodeNamedParts([]), isRefusal);
  assert.throws(() => messages.decodeNamedParts([Buffer.from([0]), Buffer.from([9])]), isRefusal);
});

function isRefusal(error: unknown): boolean {
  return error instanceof LiteFsError && ['PROTOCOL', 'PEER_REJECTED'].includes(error.code);
}

function refusedOrRead(decode: (payload: Buffer) => unknown, payload: Buffer): void {
  try {
    decode(payload);
  } catch (error) {
    assert(isRefusal(error), String(error));
  }
}
