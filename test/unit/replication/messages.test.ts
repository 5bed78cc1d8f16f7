/** Payloads: what is written is read again, docs/protocol.md has it the same, and damaged ones are refused. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { LiteFsError } from '../../../src/errors.ts';
import { plainText } from '../../../src/plain-text.ts';
import * as messages from '../../../src/replication/messages.ts';
import { decodeOwnership, encodeOwnership } from '../../../src/replication/ownership-messages.ts';
import { decodeVerified, encodeVerified } from '../../../src/replication/verify-messages.ts';

/** Plain objects, as the codecs make them. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

const anyText = fc.string({ maxLength: 60, unit: 'grapheme' });
const text = anyText.map(plainText);
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
      patterns: fc.option(fc.array(anyText, { maxLength: 5 }), { nil: undefined }),
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

/** Of no database: paths that lead elsewhere, files of SQLite's and of the mount's own, and what no disk could have. */
const NO_NAMES = [
  ...['', '/a', 'a/', 'a//b', '.', '..', 'a/../b', '../a', 'a\0b', '\0'],
  ...['x-wal', 'x-shm', 'x-journal', 'x-pos', 'a/x-wal', '-journal'],
  ...['.primary', '.lag', '.primary/x.db', '.lag/x.db'],
  ...['a'.repeat(241), `${'a/'.repeat(130)}b`, '\x1b'.repeat(81)],
];

/** All frames that carry a name, with that one. */
function framesWith(bad: string): [string, () => unknown][] {
  const at = { txid: 1, checksum: 1n };
  const named = [[bad, at]] as [string, typeof at][];
  const many = messages.encodePositions(named);
  const trouble = [{ database: bad, hostname: 'box1', reason: 'why' }];
  const [entry] = [Buffer.concat(messages.encodeNamed(bad, Buffer.alloc(3)))];
  const base = { position: at, pageSize: 512, pageCount: 1, diverged: false, reason: '' };
  const heartbeat = { clockMs: 0, lagMs: 0, positions: new Map(named) };
  const subscription = { positions: new Map(named), patterns: undefined };
  const begin = messages.encodeResyncBegin({ database: bad, ...base });
  const checksums = { last: true, pageSize: 512, bytes: Buffer.alloc(8) };
  const halted = { database: bad, id: 1, position: at, error: '' };
  const verified = { database: bad, id: 1, found: { unknown: 'why' } };
  const owner = { mode: 0o600, uid: 0, gid: 0, user: 'root', group: 'root' };
  const ownership = encodeOwnership(bad, { folders: bad.split('/').map(() => owner), file: owner });
  const id = messages.encodeNamedId(bad, 1);
  return [
    ['SUBSCRIBE', () => messages.decodeSubscription(messages.encodeSubscription(subscription))],
    ['SUBSCRIBED, ACK', () => messages.decodePositions(many)],
    ['ENTRY', () => messages.decodeNamed(entry)],
    ['ENTRY_CHUNK, PAGES', () => messages.decodeNamedParts([entry])],
    ['ENTRY_BEGIN', () => messages.decodeEntryBegin(messages.encodeEntryBegin(bad, 1))],
    ['ENTRY_END and its like', () => messages.decodeName(messages.encodeName(bad))],
    ['CHECKSUMS', () => messages.decodeChecksums(messages.encodeChecksums(bad, checksums))],
    ['RESYNC_BEGIN', () => messages.decodeResyncBegin(begin)],
    ['RESYNC_END', () => messages.decodeNamedPosition(messages.encodeNamedPosition(bad, at))],
    ['DROPPED', () => messages.decodeDropped(messages.encodeDropped(bad, true))],
    ['HEARTBEAT', () => messages.decodeHeartbeat(messages.encodeHeartbeat(heartbeat))],
    ['REQUEST', () => messages.decodeRequest(messages.encodeRequest(bad, at, true))],
    ['TROUBLES', () => messages.decodeTroubles(messages.encodeTroubles(trouble))],
    ['VERIFY, UNHALT', () => messages.decodeNamedId(id)],
    ['VERIFIED', () => decodeVerified(encodeVerified(verified))],
    ['OWNERSHIP', () => decodeOwnership(ownership)],
    ['HALT', () => messages.decodeHalt(messages.encodeHalt({ database: bad, id: 1, waitMs: 1 }))],
    ['HALTED', () => messages.decodeHalted(messages.encodeHalted(halted))],
    ['COMMITTED', () => messages.decodeCommitted(messages.encodeCommitted(halted))],
  ];
}

// On 25311ce the names of SQLite's files and of the mount's own were taken, from any frame.
test('no frame brings a name that no database can have', () => {
  for (const bad of NO_NAMES) {
    for (const [frame, decode] of framesWith(bad)) {
      assert.throws(decode, isRefusal, `${frame} of ${JSON.stringify(bad)}`);
    }
  }
  for (const [frame, decode] of framesWith('constructor/__proto__')) {
    assert.doesNotThrow(decode, frame);
  }
});

// On 25311ce it came as it was written, into logs, the status and `.primary`.
test('what a peer says in words ends no line, and moves no cursor', () => {
  const bad = 'box1\n2026-01-01 ERROR all is lost\x1b[2J\u009b1A\u202e\u2028\0';
  const good = 'box1\\x0a2026-01-01 ERROR all is lost\\x1b[2J\\x9b1A\\u{202e}\\u{2028}\\x00';
  const { code, text: why } = messages.decodeReject(messages.encodeReject(bad, bad));
  assert.deepEqual([code, why], [good, good]);
  const names = { hostname: bad, primaryHostname: bad, advertiseUrl: bad, primaryProxy: bad };
  const about = { features: 0, role: 'replica', nodeId: '00', clusterId: '', term: 0 } as const;
  const hello = { ...about, ...names, release: bad, nonce: Buffer.alloc(32) };
  const read = messages.decodeHello(messages.encodeHello(hello));
  for (const each of [...Object.keys(names), 'release'] as (keyof typeof names)[]) {
    assert.equal(read[each], good, each);
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
