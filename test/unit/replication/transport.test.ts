/** How much a connection takes in before its other side does, plain and compressed. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'node:test';
import zlib from 'node:zlib';
import { FRAME_TYPES, frameHeader } from '../../../src/replication/frame.ts';
import { FrameTransport } from '../../../src/replication/transport.ts';
import { settle } from './stand.ts';

const MIB = 1 << 20;
/** As in the transport. */
const PENDING_BYTES_MAX = 4 * MIB;

let near: Duplex;
let far: Duplex;
beforeEach(() => {
  [near, far] = duplexPair();
});
afterEach(() => {
  near.destroy();
  far.destroy();
});

describe('a sender', () => {
  for (const compressed of [false, true]) {
    it(`waits for a peer that does not read${compressed ? ', also when it compresses' : ''}`, async () => {
      const transport = new FrameTransport(far);
      transport.start({ frame() {}, closed() {} });
      if (compressed) transport.compress();
      let waiting: Promise<void> | undefined;
      // One more than has room: a little of it is on its way.
      while (transport.pendingBytes < PENDING_BYTES_MAX + MIB) {
        waiting = transport.send('PAGES', randomBytes(MIB));
      }
      let goesOn = false;
      waiting = waiting?.then(() => {
        goesOn = true;
      });
      await settle();
      // All is compressed by then, and flushed.
      if (compressed) await transport.drained();
      await settle();
      assert(!goesOn, 'nothing was read');
      assert(transport.pendingBytes >= PENDING_BYTES_MAX);
      near.resume();
      await waiting;
      assert(transport.pendingBytes < PENDING_BYTES_MAX);
    });
  }
});

describe('a sender that uses its shared memory again', () => {
  const FRAMES = 24;
  for (const compressed of [false, true]) {
    it(`has sent what was in it${compressed ? ', also when it compresses' : ''}`, async () => {
      const server = net.createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const accepted = once(server, 'connection') as Promise<net.Socket[]>;
      const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
      try {
        const [sender, receiver] = [
          new FrameTransport(socket),
          new FrameTransport((await accepted)[0]),
        ];
        const all = Promise.withResolvers<void>();
        let count = 0;
        receiver.trust();
        receiver.start({
          frame({ parts }) {
            for (const part of parts)
              assert(
                part.every((byte) => byte === count),
                `${count}`,
              );
            if (++count === FRAMES) all.resolve();
          },
          closed: (error) => all.reject(error),
        });
        sender.start({ frame() {}, closed() {} });
        if (compressed) for (const side of [sender, receiver]) side.compress();
        const pages = Buffer.from(new SharedArrayBuffer(MIB));
        for (let number = 0; number < FRAMES; number++) {
          pages.fill(number);
          sender.send('PAGES', pages);
          await sender.drained();
        }
        await all.promise;
      } finally {
        socket.destroy();
        server.close();
      }
    });
  }
});

describe('a receiver of a compressed stream', () => {
  const FRAMES = 40;
  /** Frames of nothing but zeros: small as they come, large as they are. */
  const frames = () => {
    const frame = [frameHeader(FRAME_TYPES.PAGES, MIB), Buffer.alloc(MIB)];
    return zlib.zstdCompressSync(Buffer.concat(Array(FRAMES).fill(frame).flat()));
  };
  const receiver = (socket: Duplex, frame: (transport: FrameTransport) => void) => {
    const transport = new FrameTransport(socket);
    transport.start({ frame: () => frame(transport), closed() {} });
    transport.trust();
    transport.compress();
    return transport;
  };

  it('gets none while it pauses, and all in the end', async () => {
    const [other, end] = duplexPair() as [Duplex, Duplex];
    const all = Promise.withResolvers<void>();
    let got = 0;
    const pausing = receiver(far, (transport) => {
      got++;
      transport.pause();
      if (got === FRAMES) all.resolve();
    });
    // One that takes all shows how long that lasts.
    const taken = Promise.withResolvers<void>();
    let count = 0;
    receiver(end, () => {
      if (++count === FRAMES) taken.resolve();
    });
    near.write(frames());
    other.write(frames());
    await taken.promise;
    assert.equal(got, 1);
    const going = setInterval(() => pausing.resume());
    await all.promise;
    clearInterval(going);
    other.destroy();
  });

  it('reads no more than it has decompressed', async () => {
    const all = Promise.withResolvers<void>();
    let got = 0;
    receiver(far, () => {
      if (++got === FRAMES) all.resolve();
    });
    const paused = Promise.withResolvers<boolean>();
    far.once('data', () => paused.resolve(far.isPaused()));
    // Zeros to begin with, and much that is of no use after them.
    near.write(Buffer.concat([frames(), zlib.zstdCompressSync(randomBytes(MIB))]));
    assert(await paused.promise);
    await all.promise;
  });
});
