/** Frames of replication, as a peer sends them: streams of whole frames, and such as a hostile peer makes of them. */
import assert from 'node:assert/strict';
import { judgePeer } from '../../../../src/lease/judge.ts';
import { nameMatcher } from '../../../../src/patterns.ts';
import {
  FRAME_BYTES_MAX,
  FRAME_TYPES,
  type Frame,
  type FrameName,
  FrameParser,
  frameHeader,
  HANDSHAKE_FRAME_BYTES_MAX,
} from '../../../../src/replication/frame.ts';
import * as messages from '../../../../src/replication/messages.ts';
import {
  decodeOwnership,
  encodeOwnership,
} from '../../../../src/replication/ownership-messages.ts';
import { decodeVerified, encodeVerified } from '../../../../src/replication/verify-messages.ts';
import type { SeededRandom } from '../../random.ts';
import { type Grammar, PURE } from '../grammar.ts';
import { edge, mutate, noise, oddNumber, oddText, pieces } from '../mutate.ts';

/** Length and type. */
const FRAME_START_BYTES = 5;
const NAMES = ['app.db', 'folder/a.db', 'b c.db', 'x'.repeat(200), 'deep/er/and/deeper.db'];

const name = (random: SeededRandom) => random.pick(NAMES);
const text = (random: SeededRandom) => (random.below(4) === 0 ? oddText(random) : 'box1');
const id = (random: SeededRandom) => random.below(2 ** 32) * (random.below(2 ** 20) + 1);
const u32 = (random: SeededRandom) => oddNumber(random, 32);
const some = (random: SeededRandom, most: number) =>
  Array.from({ length: random.below(most + 1) }, (_, i) => i);

function position(random: SeededRandom) {
  return { txid: id(random), checksum: BigInt.asUintN(64, edge(random)) };
}

function positions(random: SeededRandom) {
  return new Map(some(random, 6).map((i) => [`${i}${name(random)}`, position(random)] as const));
}

function hello(random: SeededRandom): messages.Hello {
  const hex = () => noise(random, 8).toString('hex');
  return {
    features: u32(random),
    role: random.pick(['primary', 'replica'] as const),
    nodeId: hex(),
    clusterId: random.below(3) === 0 ? '' : hex(),
    term: id(random),
    nonce: noise(random, messages.NONCE_BYTES),
    hostname: text(random),
    primaryHostname: text(random),
    advertiseUrl: text(random),
    primaryProxy: text(random),
    release: text(random),
  };
}

function ownership(random: SeededRandom): Buffer {
  const database = name(random);
  const one = () => ({
    mode: random.below(0o1000),
    uid: u32(random),
    gid: u32(random),
    user: text(random),
    group: text(random),
  });
  const folders = database.split('/').map(one);
  return encodeOwnership(database, { folders, file: one() });
}

function verified(random: SeededRandom): Buffer {
  const badPages = some(random, 120).map(() => u32(random));
  const reason = badPages.length > 0 ? 'they differ' : random.pick(['', 'it differs']);
  const found = random.pick([
    { unknown: text(random) },
    { position: position(random), pages: u32(random), badPages, reason },
  ]);
  return encodeVerified({ database: name(random), id: id(random), found });
}

interface Kind {
  encode(random: SeededRandom): Buffer;
  decode(frame: Frame): unknown;
}

const nothing = () => Buffer.alloc(0);
const blob = (random: SeededRandom) => noise(random, random.below(300));
const named = (random: SeededRandom) =>
  Buffer.concat(messages.encodeNamed(name(random), blob(random)));
const payload = ({ payload: bytes }: Frame) => bytes;
/** Both ways of reading the same give the same. */
const decodeNamed = (frame: Frame) => {
  const inParts = messages.decodeNamedParts(frame.parts);
  const whole = messages.decodeNamed(frame.payload);
  assert.equal(inParts.database, whole.database);
  assert.equal(messages.bytesOf(inParts.parts), whole.bytes.length);
  return whole;
};
const namedId: Kind = {
  encode: (random) => messages.encodeNamedId(name(random), id(random)),
  decode: (frame) => messages.decodeNamedId(frame.payload),
};
const nameAlone: Kind = {
  encode: (random) => messages.encodeName(name(random)),
  decode: (frame) => messages.decodeName(frame.payload),
};
const listed: Kind = {
  encode: (random) => messages.encodePositions(positions(random)),
  decode: (frame) => messages.decodePositions(frame.payload),
};

/** What each type carries, and how it is read. */
const KINDS: Partial<Record<FrameName, Kind>> = {
  HELLO: {
    encode: (random) => messages.encodeHello(hello(random)),
    decode: ({ payload: bytes }) => {
      messages.helloVersion(bytes);
      return messages.decodeHello(bytes);
    },
  },
  AUTH: { encode: (random) => noise(random, 32), decode: payload },
  WELCOME: { encode: nothing, decode: payload },
  REJECT: {
    encode: (random) => messages.encodeReject('other-cluster', text(random)),
    decode: (frame) => messages.decodeReject(frame.payload),
  },
  SUBSCRIBE: {
    encode: (random) => {
      const patterns = some(random, 5).map(() =>
        random.pick(['*', 'app.db', '*a*a*a*b', text(random)]),
      );
      const wanted = random.below(2) === 0 ? undefined : patterns;
      return messages.encodeSubscription({ positions: positions(random), patterns: wanted });
    },
    decode: (frame) => {
      const subscription = messages.decodeSubscription(frame.payload);
      const wants = nameMatcher(subscription.patterns);
      return NAMES.map(wants);
    },
  },
  SUBSCRIBED: listed,
  ENTRY: { encode: named, decode: decodeNamed },
  ENTRY_BEGIN: {
    encode: (random) => messages.encodeEntryBegin(name(random), id(random)),
    decode: (frame) => messages.decodeEntryBegin(frame.payload),
  },
  ENTRY_CHUNK: { encode: named, decode: decodeNamed },
  ENTRY_END: nameAlone,
  CHECKSUMS_ASK: nameAlone,
  CHECKSUMS: {
    encode: (random) =>
      messages.encodeChecksums(name(random), {
        last: random.below(2) === 0,
        pageSize: u32(random),
        bytes: blob(random),
      }),
    decode: (frame) => messages.decodeChecksums(frame.payload),
  },
  RESYNC_BEGIN: {
    encode: (random) =>
      messages.encodeResyncBegin({
        database: name(random),
        position: position(random),
        pageSize: u32(random),
        pageCount: u32(random),
        diverged: random.below(2) === 0,
        reason: text(random),
      }),
    decode: (frame) => messages.decodeResyncBegin(frame.payload),
  },
  PAGES: { encode: named, decode: decodeNamed },
  RESYNC_END: {
    encode: (random) => messages.encodeNamedPosition(name(random), position(random)),
    decode: (frame) => messages.decodeNamedPosition(frame.payload),
  },
  DROPPED: {
    encode: (random) => messages.encodeDropped(name(random), random.below(2) === 0),
    decode: (frame) => messages.decodeDropped(frame.payload),
  },
  HEARTBEAT: {
    encode: (random) =>
      messages.encodeHeartbeat({
        clockMs: id(random),
        lagMs: u32(random),
        positions: positions(random),
      }),
    decode: (frame) => messages.decodeHeartbeat(frame.payload),
  },
  ACK: listed,
  PING: { encode: nothing, decode: payload },
  REQUEST: {
    encode: (random) =>
      messages.encodeRequest(name(random), position(random), random.below(2) === 0),
    decode: (frame) => messages.decodeRequest(frame.payload),
  },
  TROUBLES: {
    encode: (random) =>
      messages.encodeTroubles(
        some(random, 4).map(() => ({
          database: name(random),
          hostname: text(random),
          reason: text(random),
        })),
      ),
    decode: (frame) => messages.decodeTroubles(frame.payload),
  },
  VERIFY: namedId,
  VERIFIED: { encode: verified, decode: (frame) => decodeVerified(frame.payload) },
  ANSWERED: { encode: nothing, decode: payload },
  OWNERSHIP: { encode: ownership, decode: (frame) => decodeOwnership(frame.payload) },
  HALT: {
    encode: (random) =>
      messages.encodeHalt({ database: name(random), id: id(random), waitMs: u32(random) }),
    decode: (frame) => messages.decodeHalt(frame.payload),
  },
  HALTED: {
    encode: (random) =>
      messages.encodeHalted({
        database: name(random),
        id: id(random),
        position: position(random),
        error: text(random),
      }),
    decode: (frame) => messages.decodeHalted(frame.payload),
  },
  UNHALT: namedId,
  COMMITTED: {
    encode: (random) =>
      messages.encodeCommitted({
        database: name(random),
        position: position(random),
        error: text(random),
      }),
    decode: (frame) => messages.decodeCommitted(frame.payload),
  },
};

const KNOWN = Object.keys(KINDS) as FrameName[];
const BY_TYPE = new Map(KNOWN.map((known) => [FRAME_TYPES[known] as number, KINDS[known]]));

/** The payload of a frame, mostly of a valid one. */
export function framePayload(random: SeededRandom, frameName: FrameName, odds = 3): Buffer {
  const bytes = KINDS[frameName]?.encode(random) ?? nothing();
  return random.below(odds) === 0 ? mutate(random, bytes) : bytes;
}

function frame(random: SeededRandom): Buffer {
  const frameName = random.pick(KNOWN);
  const bytes = framePayload(random, frameName);
  const header = frameHeader(FRAME_TYPES[frameName], bytes.length);
  // A type that is another's, or nobody's.
  if (random.below(8) === 0) header[4] = random.below(256);
  if (random.below(16) === 0) header.writeUInt32BE(oddNumber(random, 32), 0);
  return Buffer.concat([header, bytes]);
}

/** What names and numbers are promised to be, once they were read. */
function assertSane(value: unknown): void {
  const { database, term } = value as { database?: string; term?: number };
  if (term !== undefined) assert(Number.isSafeInteger(term));
  if (database === undefined) return;
  assert(!database.includes('\0') && !database.startsWith('/') && database !== '');
  assert(!database.split('/').some((part) => part === '..' || part === '.' || part === ''));
}

export const frames: Grammar = {
  name: 'frames',
  reads: 'frames of replication: the parser of the stream, and all payloads',
  codes: ['PROTOCOL', 'PEER_REJECTED'],
  bounds: PURE,
  isStateful: false,
  begin: () => ({
    make(random) {
      const list = Array.from({ length: 1 + random.below(3) }, () => frame(random));
      let stream: Buffer = Buffer.concat(list);
      if (random.below(4) === 0) stream = mutate(random, stream, list);
      const isTrusted = random.below(2) === 0;
      const parts = pieces(random, stream);
      return {
        bytes: stream.length,
        take() {
          const parser = new FrameParser();
          if (isTrusted) parser.trust();
          let count = 0;
          for (const part of parts) {
            parser.add(part);
            for (let next = parser.next(); next; next = parser.next()) {
              assertSane(BY_TYPE.get(next.type)?.decode(next) ?? {});
              count++;
            }
          }
          // Nobody waits for a frame that is too long.
          const rest = parser.takeRest();
          const most = isTrusted ? FRAME_BYTES_MAX : HANDSHAKE_FRAME_BYTES_MAX;
          assert(rest.length < FRAME_START_BYTES || rest.readUInt32BE(0) <= most);
          return count > 0 ? 'value' : 'refused';
        },
      };
    },
    end() {},
  }),
};

const ME = {
  nodeId: '0000000000000001',
  clusterId: 'c000000000000001',
  term: 3,
  role: 'primary',
  hostname: 'box1',
} as const;

export const helloGrammar: Grammar = {
  name: 'hello',
  reads: 'the HELLO of a stranger, and what is decided from it',
  codes: ['PROTOCOL', 'PEER_REJECTED'],
  bounds: PURE,
  isStateful: false,
  begin: () => ({
    make(random) {
      const facts = hello(random);
      // Near to what decides.
      const near = {
        ...facts,
        nodeId: random.pick([facts.nodeId, ME.nodeId]),
        clusterId: random.pick([facts.clusterId, ME.clusterId]),
        term: random.pick([facts.term, ME.term, ME.term + 1]),
      };
      const whole = messages.encodeHello(near);
      const isChanged = random.below(4) > 0;
      const bytes = isChanged ? mutate(random, whole) : whole;
      return {
        bytes: bytes.length,
        take() {
          messages.helloVersion(bytes);
          const peer = messages.decodeHello(bytes);
          assertSane(peer);
          if (!isChanged) assert.equal(peer.nodeId, near.nodeId);
          judgePeer(ME, peer);
          judgePeer({ ...ME, role: 'replica', isEmpty: true }, peer);
          return 'value';
        },
      };
    },
    end() {},
  }),
};
