/**
 * Sessions of replication with a peer that keeps to nothing: a replica that a server follows up, and a server that a replica follows.
 * Whatever it says, the session goes on or ends with a code; what it has opened goes with it.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import zlib from 'node:zlib';
import { LiteFsError } from '../../../../src/errors.ts';
import { type AuthContext, proof } from '../../../../src/replication/auth.ts';
import { ClientSession } from '../../../../src/replication/client-session.ts';
import { FRAME_TYPES, type FrameName, frameHeader } from '../../../../src/replication/frame.ts';
import {
  encodeHello,
  encodePositions,
  encodeSubscription,
  FEATURE_ZSTD,
} from '../../../../src/replication/messages.ts';
import type { ReceivedEntry, Resync } from '../../../../src/replication/store.ts';
import { FrameTransport } from '../../../../src/replication/transport.ts';
import { MemoryStore } from '../../../unit/replication/memory-store.ts';
import { PRIMARY, REPLICA, SILENT, serverOn, settle } from '../../../unit/replication/stand.ts';
import type { SeededRandom } from '../../random.ts';
import type { Fuzzed, Grammar, Input } from '../grammar.ts';
import { mutate, oddNumber, pieces } from '../mutate.ts';
import { framePayload } from './frames.ts';

const CLIENT_NONCE = Buffer.alloc(32, 1);
const SERVER_NONCE = Buffer.alloc(32, 2);
const KNOWN = (Object.keys(FRAME_TYPES) as FrameName[]).filter(
  (name) => !name.startsWith('RESERVED'),
);
const FROM_REPLICA: readonly FrameName[] = [
  'ACK',
  'PING',
  'REQUEST',
  'CHECKSUMS',
  'HALT',
  'ENTRY',
  'ENTRY_BEGIN',
  'ENTRY_CHUNK',
  'ENTRY_END',
  'UNHALT',
  'VERIFY',
];
const FROM_SERVER: readonly FrameName[] = [
  'ENTRY',
  'ENTRY_BEGIN',
  'ENTRY_CHUNK',
  'ENTRY_END',
  'CHECKSUMS_ASK',
  'RESYNC_BEGIN',
  'PAGES',
  'RESYNC_END',
  'DROPPED',
  'HEARTBEAT',
  'TROUBLES',
  'VERIFIED',
  'ANSWERED',
  'OWNERSHIP',
  'HALTED',
  'COMMITTED',
];
const TURNS = 12;
const ABOUT = { advertiseUrl: '', primaryHostname: '', primaryProxy: '', release: '' };
const CONTEXT: AuthContext = {
  clientNonce: CLIENT_NONCE,
  serverNonce: SERVER_NONCE,
  clientId: REPLICA.nodeId,
  serverId: PRIMARY.nodeId,
};

/** Databases in memory, which judge what is not theirs as the engine does: by a code. */
class ToughStore extends MemoryStore {
  override readonly spoolDir: string;

  constructor(spoolDir: string) {
    super();
    this.spoolDir = spoolDir;
    for (const name of ['app.db', 'folder/a.db']) {
      for (let i = 1; i < 4; i++) this.commit(name, new Map([[i, BigInt(i)]]));
    }
  }

  override apply(entry: ReceivedEntry) {
    return super.apply(entry).catch(withCode);
  }

  override async beginResync(...args: Parameters<MemoryStore['beginResync']>): Promise<Resync> {
    const resync = await super.beginResync(...args).catch(withCode);
    return {
      pages: (records) => resync.pages(records).catch(withCode),
      entry: (entry) => resync.entry(entry).catch(withCode),
      finish: (position) => resync.finish(position).catch(withCode),
      abort: () => resync.abort().catch(() => {}),
    };
  }
}

function withCode(error: unknown): never {
  if (error instanceof LiteFsError) throw error;
  throw new LiteFsError('LTX_CORRUPT', `an entry that is none: ${error}`);
}

function frame(name: FrameName, payload: Uint8Array): Buffer {
  return Buffer.concat([frameHeader(FRAME_TYPES[name], payload.length), payload]);
}

/** What the peer says once it is known: frames that are in order, of any kind, or none at all. */
function talk(random: SeededRandom, usual: readonly FrameName[]): Buffer {
  const frames = Array.from({ length: 1 + random.below(12) }, () => {
    const name = random.below(8) === 0 ? random.pick(KNOWN) : random.pick(usual);
    return frame(name, framePayload(random, name, 20));
  });
  const all = Buffer.concat(frames);
  return random.below(5) === 0 ? mutate(random, all, frames) : all;
}

function maybeSpoil(random: SeededRandom, bytes: Buffer): Buffer {
  return random.below(16) === 0 ? mutate(random, bytes) : bytes;
}

interface Talk {
  /** Of the handshake, and behind it. */
  readonly parts: readonly Buffer[];
  readonly isCompressed: boolean;
}

function talkOf(
  random: SeededRandom,
  handshake: readonly Buffer[],
  usual: readonly FrameName[],
): Talk {
  const isCompressed = random.below(4) === 0;
  const plain = Buffer.concat(handshake.map((bytes) => maybeSpoil(random, bytes)));
  let said: Buffer = talk(random, usual);
  if (isCompressed) {
    // A little that becomes much.
    if (random.below(8) === 0) said = Buffer.concat([said, Buffer.alloc(oddNumber(random, 22))]);
    said = zlib.zstdCompressSync(said);
    if (random.below(3) === 0) said = mutate(random, said);
  }
  return { parts: [plain, ...pieces(random, said)], isCompressed };
}

/** Says all of it as fast as it is taken, and looks how the session ends. */
async function converse(
  [near, far]: readonly [Duplex, Duplex],
  { parts }: Talk,
  ended: () => Error | null | undefined,
) {
  near.on('error', () => {});
  near.resume();
  for (const [i, part] of parts.entries()) {
    if (near.destroyed) break;
    near.write(Buffer.from(part));
    if (i === 0) await settle(6);
    else if (i % 4 === 0) await settle(1);
  }
  await settle(TURNS);
  const early = ended();
  if (early)
    assert(early instanceof LiteFsError || 'code' in early, `it ended with ${early.stack}`);
  const isAlive = early === undefined;
  near.destroy();
  far.destroy();
  for (let turns = 0; ended() === undefined; turns++) {
    assert(turns < 1000, 'the session does not end with its connection');
    await settle(1);
  }
  return isAlive ? ('value' as const) : ('refused' as const);
}

function bytesIn({ parts }: Talk): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

function grammarOf(
  about: Pick<Grammar, 'name' | 'reads'>,
  make: (random: SeededRandom, spools: string) => Input,
): Grammar {
  return {
    ...about,
    codes: [],
    // 4 MiB wait on each side, and what was compressed may be much more than it seems.
    bounds: { ms: 5000, perByte: 4096, anyway: 96 << 20 },
    isStateful: true,
    begin(folder): Fuzzed {
      const spools = path.join(folder, 'spools');
      fs.mkdirSync(spools);
      return {
        make: (random) => make(random, spools),
        async end() {
          await settle(TURNS);
          assert.deepEqual(fs.readdirSync(spools), [], 'what sessions have left in the spool');
        },
      };
    },
  };
}

export const followers: Grammar = grammarOf(
  { name: 'followers', reads: 'what a replica says to the server that it follows' },
  (random, spools) => {
    const features = random.below(4) === 0 ? oddNumber(random, 32) : 63;
    const subscription = {
      positions: new Map([['app.db', { txid: random.below(5), checksum: 2n ** 63n }]]),
      patterns: random.below(2) === 0 ? undefined : ['*'],
    };
    const handshake = [
      frame('HELLO', encodeHello({ ...REPLICA, ...ABOUT, features, nonce: CLIENT_NONCE })),
      frame('AUTH', proof(undefined, 'client', CONTEXT)),
    ];
    const said = talkOf(random, handshake, FROM_REPLICA);
    const subscribe = frame('SUBSCRIBE', encodeSubscription(subscription));
    const isZstd = said.isCompressed && (features & FEATURE_ZSTD) !== 0;
    const first = isZstd ? zlib.zstdCompressSync(subscribe) : subscribe;
    const whole = { ...said, parts: [said.parts[0], first, ...said.parts.slice(1)] };
    return {
      bytes: bytesIn(whole),
      take() {
        const [near, far] = duplexPair();
        let ended: Error | null | undefined;
        far.on('error', (error) => {
          ended ??= error;
        });
        serverOn(far, {
          nonce: SERVER_NONCE,
          store: new ToughStore(spools),
          compress: said.isCompressed,
          events: {
            authenticated() {},
            welcomed() {},
            refused() {},
            acked() {},
            closed() {
              ended ??= null;
            },
          },
        });
        return converse([near, far], whole, () => ended);
      },
    };
  },
);

export const leaders: Grammar = grammarOf(
  { name: 'leaders', reads: 'what a server says to the replica that follows it' },
  (random, spools) => {
    const features = random.below(4) === 0 ? oddNumber(random, 32) : 63;
    const positions = new Map([['app.db', { txid: random.below(5), checksum: 2n ** 63n }]]);
    const handshake = [
      frame('HELLO', encodeHello({ ...PRIMARY, ...ABOUT, features, nonce: SERVER_NONCE })),
      frame('AUTH', proof(undefined, 'server', CONTEXT)),
      frame('WELCOME', Buffer.alloc(0)),
    ];
    const said = talkOf(random, handshake, FROM_SERVER);
    const subscribed = frame('SUBSCRIBED', encodePositions(positions));
    const isZstd = said.isCompressed && (features & FEATURE_ZSTD) !== 0;
    const first = isZstd ? zlib.zstdCompressSync(subscribed) : subscribed;
    const whole = { ...said, parts: [said.parts[0], first, ...said.parts.slice(1)] };
    return {
      bytes: bytesIn(whole),
      async take() {
        const [near, far] = duplexPair();
        let ended: Error | null | undefined;
        const session = new ClientSession({
          transport: new FrameTransport(far),
          store: new ToughStore(spools),
          local: () => REPLICA,
          secret: undefined,
          nonce: CLIENT_NONCE,
          clock: { wallMs: () => 0, monotonicMs: () => 0 },
          log: SILENT,
          compress: said.isCompressed,
          patterns: undefined,
          held: new Map(),
          events: {
            connected() {},
            positions() {},
            heartbeat() {},
            applied() {},
            troubles() {},
            dropped() {},
            closed(error) {
              ended = error ?? null;
            },
          },
        });
        const verdict = await converse([near, far], whole, () => ended);
        await session.drained();
        return verdict;
      },
    };
  },
);
