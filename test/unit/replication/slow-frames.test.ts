/** Over a slow link one frame takes longer than a silent peer is waited for: who still sends is not silent. */
import assert from 'node:assert/strict';
import { type Duplex, duplexPair } from 'node:stream';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { proof, type Side } from '../../../src/replication/auth.ts';
import { ClientSession } from '../../../src/replication/client-session.ts';
import { FRAME_TYPES, frameHeader } from '../../../src/replication/frame.ts';
import {
  encodeHello,
  encodePositions,
  encodeSubscription,
} from '../../../src/replication/messages.ts';
import { FrameTransport } from '../../../src/replication/transport.ts';
import { MemoryStore } from './memory-store.ts';
import { PRIMARY, REPLICA, SILENT, serverOn, settle } from './stand.ts';

let nowMs = 0;
const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
const [clientNonce, serverNonce] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const common = {
  store: new MemoryStore(),
  secret: undefined,
  clock,
  log: SILENT,
  compress: false,
};
const nothing = () => {};

beforeEach(() => {
  nowMs = 0;
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
});
afterEach(() => mock.timers.reset());

/** Greets as the other side, without a session, up to where entries may be sent. */
function greet(stream: Duplex, side: Side): void {
  const transport = new FrameTransport(stream);
  transport.start({ frame: nothing, closed: nothing });
  const about = { advertiseUrl: '', primaryHostname: '', primaryProxy: '', release: '' };
  const [node, nonce] = side === 'client' ? [REPLICA, clientNonce] : [PRIMARY, serverNonce];
  transport.send('HELLO', encodeHello({ ...node, ...about, features: 2, nonce }));
  const ids = { clientId: REPLICA.nodeId, serverId: PRIMARY.nodeId };
  transport.send('AUTH', proof(undefined, side, { clientNonce, serverNonce, ...ids }));
  if (side === 'client') {
    const all = { positions: new Map(), patterns: undefined };
    transport.send('SUBSCRIBE', encodeSubscription(all));
  } else {
    transport.send('WELCOME');
    transport.send('SUBSCRIBED', encodePositions([]));
  }
}

for (const side of ['client', 'server'] as const) {
  it(`is heard while a frame comes from the ${side}, and not after that`, async () => {
    const [near, far] = duplexPair() as [Duplex, Duplex];
    let ended: Error | undefined;
    if (side === 'client') {
      serverOn(far, {
        ...common,
        nonce: serverNonce,
        events: {
          authenticated: nothing,
          welcomed: nothing,
          refused: nothing,
          acked: nothing,
          closed: () => {
            ended = new Error('it is gone');
          },
        },
      });
    } else {
      new ClientSession({
        ...common,
        transport: new FrameTransport(far),
        local: () => REPLICA,
        nonce: clientNonce,
        patterns: undefined,
        held: new Map(),
        events: {
          connected: nothing,
          positions: nothing,
          heartbeat: nothing,
          troubles: nothing,
          applied: nothing,
          dropped: nothing,
          closed: (error) => {
            ended = error;
          },
        },
      });
    }
    const pass = async (seconds: number, each: () => void) => {
      for (let second = 0; second < seconds; second++) {
        each();
        await settle(4);
        nowMs += 1000;
        mock.timers.tick(1000);
        await settle(4);
      }
    };
    try {
      greet(near, side);
      await settle();
      near.write(frameHeader(FRAME_TYPES.ENTRY, 1 << 20));
      await pass(30, () => near.write(Buffer.alloc(1000)));
      assert.equal(ended, undefined);
      await pass(12, nothing);
      assert(ended);
    } finally {
      near.destroy();
      far.destroy();
      await settle(4);
    }
  });
}
