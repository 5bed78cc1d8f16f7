/** What a peer that knows the secret, or needs none, can have a server keep or do by its frames: nothing for what it makes up. */
import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { describe, it } from 'node:test';
import zlib from 'node:zlib';
import type { Position } from '../../../src/ltx/position.ts';
import { FRAME_TYPES, FrameParser, frameHeader } from '../../../src/replication/frame.ts';
import {
  encodeChecksums,
  encodePositions,
  encodeRequest,
  FEATURE_ANSWERED,
} from '../../../src/replication/messages.ts';
import { FrameTransport } from '../../../src/replication/transport.ts';
import { memoryKept } from '../../harness/garbage.ts';
import { greeted } from './greeted.ts';
import { MemoryStore } from './memory-store.ts';
import { settle, until } from './stand.ts';

const AT: Position = { txid: 7, checksum: 1n };
const PAGE = new Map([[1, 1n]]);

/** Counts what is asked of the log. */
class WatchedStore extends MemoryStore {
  reads = 0;

  override readLog(name: string, after: Position) {
    this.reads++;
    return super.readLog(name, after);
  }
}

function storeOf(...names: readonly string[]): WatchedStore {
  const store = new WatchedStore();
  for (const name of names) store.commit(name, PAGE);
  return store;
}

const madeUp = (count: number, at = AT) =>
  new Map(Array.from({ length: count }, (_, i): [string, Position] => [`made-up-${i}.db`, at]));

describe('a replica that makes names up', () => {
  // On 25311ce each name was kept for as long as it was connected, and told to Prometheus: hundreds of MB.
  it('acknowledges nothing by them, nor what it was not offered', async () => {
    const store = storeOf('a.db', 'other.db');
    const link = await greeted({ features: 0, store, patterns: ['a*', 'made*'] });
    try {
      const other = store.positions().get('other.db') as Position;
      link.near.send('ACK', encodePositions([...madeUp(30_000), ['other.db', other]]));
      await settle();
      assert.deepEqual([...(link.server.info()?.positions.keys() ?? [])], []);
      link.near.send('ACK', encodePositions(store.positions()));
      await until(() => link.server.info()?.positions.size !== 0);
      assert.deepEqual([...(link.server.info()?.positions.keys() ?? [])], ['a.db']);
    } finally {
      link.close();
    }
  });

  // On 25311ce a feed was made for each, and the engine was asked for each.
  for (const at of [AT, { txid: 0, checksum: 0n }]) {
    it(`has the engine asked for none of them, at position ${at.txid}`, async () => {
      const store = storeOf('a.db');
      const link = await greeted({
        features: FEATURE_ANSWERED,
        store,
        positions: madeUp(5000, at),
      });
      try {
        await until(() => link.got.filter((name) => name === 'DROPPED').length === 5000);
        const reads = store.reads;
        assert(reads <= 3, `${reads} readings of the log`);
        for (const name of madeUp(5000).keys()) {
          link.near.send('REQUEST', encodeRequest(`${name}2`, at, at.txid > 0));
        }
        await until(() => link.got.filter((name) => name === 'DROPPED').length === 10_000);
        assert.equal(store.reads, reads);
        assert.equal(link.got.filter((name) => name === 'ANSWERED').length, 5000);
      } finally {
        link.close();
      }
    });
  }

  it('is not shown as one that has what it never got', async () => {
    const store = storeOf('a.db');
    const link = await greeted({ features: 0, store });
    try {
      const positions: [string, Position][] = [
        ['a.db', { txid: Number.MAX_SAFE_INTEGER, checksum: 1n }],
      ];
      link.near.send('ACK', encodePositions(positions));
      await settle();
      assert.deepEqual(link.server.info()?.positions, new Map());
    } finally {
      link.close();
    }
  });
});

describe('a replica that sends more than it was asked for', () => {
  // On 25311ce up to 32 GiB of them were kept, for a database of one page.
  it('has no more checksums kept than there are pages', async () => {
    const link = await greeted({ features: 0, store: storeOf('a.db') });
    try {
      const none = { txid: 0, checksum: 0n };
      link.near.send('REQUEST', encodeRequest('a.db', none, true));
      await until(() => link.got.includes('CHECKSUMS_ASK'));
      const before = memoryKept().arrayBuffers;
      const part = { last: false, pageSize: 8, bytes: Buffer.alloc(1 << 20, 1) };
      const payload = encodeChecksums('a.db', part);
      for (let i = 0; i < 200; i++) {
        link.near.send('CHECKSUMS', Buffer.from(payload));
        await settle(2);
      }
      const kept = memoryKept().arrayBuffers - before;
      assert(kept < 64 << 20, `${kept} bytes`);
      link.near.send('CHECKSUMS', encodeChecksums('a.db', { ...part, last: true }));
      await until(() => link.got.includes('RESYNC_END'));
    } finally {
      link.close();
    }
  });

  // On 25311ce each byte of a frame was a buffer of its own until the frame was whole: 200 bytes for one.
  it('has a frame kept as its bytes, however small the pieces are', () => {
    const parser = new FrameParser();
    parser.trust();
    parser.add(frameHeader(FRAME_TYPES.ENTRY, 1 << 20));
    const before = memoryKept();
    for (let i = 0; i < 1 << 20; i++) parser.add(Buffer.from([i & 0xff]));
    const after = memoryKept();
    assert.equal(parser.pieces < 1000, true, `${parser.pieces} pieces`);
    assert(
      after.heapUsed - before.heapUsed < 64 << 20,
      `${after.heapUsed - before.heapUsed} bytes`,
    );
    const frame = parser.next();
    assert.equal(frame?.payload.length, 1 << 20);
    assert(frame.payload.every((byte, i) => byte === (i & 0xff)));
    assert.equal(parser.next(), undefined);
  });

  // On 25311ce a stream could have 128 MiB kept for it to look back to.
  it('has no more kept for compression than our own level takes', async () => {
    const [near, far] = duplexPair();
    const ended = Promise.withResolvers<Error | undefined>();
    const transport = new FrameTransport(far);
    transport.start({ frame() {}, closed: ended.resolve });
    transport.trust();
    transport.compress();
    const params = { [zlib.constants.ZSTD_c_windowLog]: 27 };
    const compressor = zlib.createZstdCompress({ params });
    compressor.on('data', (chunk: Buffer) => near.write(chunk));
    compressor.on('error', () => {});
    compressor.write(frameHeader(FRAME_TYPES.PING, 0));
    compressor.flush();
    try {
      assert.match(`${await ended.promise}`, /window|memory|Frame requires too much/i);
    } finally {
      compressor.destroy();
      near.destroy();
    }
  });
});

describe('a replica that takes nothing', () => {
  // On 25311ce what it asked for was answered into memory, without end.
  it('is not heard any more while 16 MiB wait for it, and again when it takes them', async () => {
    const link = await greeted({ features: FEATURE_ANSWERED, store: storeOf('a.db') });
    const { end, transport } = link;
    try {
      end.pause();
      const name = `${'n'.repeat(200)}.db`;
      const payload = encodeRequest(name, { txid: 0, checksum: 0n }, true);
      const requests = Buffer.concat(
        Array.from({ length: 1000 }, () => [
          frameHeader(FRAME_TYPES.REQUEST, payload.length),
          payload,
        ]).flat(),
      );
      let sent = 0;
      for (let i = 0; i < 150; i++) {
        if (end.write(requests)) sent++;
        await settle(1);
      }
      assert(transport.isHeld);
      assert(transport.pendingBytes < 24 << 20, `${transport.pendingBytes} bytes wait`);
      assert(sent < 150, 'it was read to the end');
      end.resume();
      await until(() => !transport.isHeld && transport.pendingBytes === 0);
      await until(() => link.got.filter((each) => each === 'ANSWERED').length === 150_000);
    } finally {
      link.close();
    }
  });
});
