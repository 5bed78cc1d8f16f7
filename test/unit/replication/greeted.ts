/** A server to which a replica has said HELLO, AUTH and SUBSCRIBE: what it sends, and what it gets, frame by frame. */
import { type Duplex, duplexPair } from 'node:stream';
import type { Position } from '../../../src/ltx/position.ts';
import { proof } from '../../../src/replication/auth.ts';
import { type Frame, frameName } from '../../../src/replication/frame.ts';
import { encodeHello, encodeSubscription } from '../../../src/replication/messages.ts';
import type { LocalNode, Upstream, VerifyHost } from '../../../src/replication/parts.ts';
import type { ServerSession } from '../../../src/replication/server-session.ts';
import { FrameTransport } from '../../../src/replication/transport.ts';
import { MemoryStore } from './memory-store.ts';
import { NO_VERIFIER, PRIMARY, REPLICA, serverOn, settle, UPSTREAM } from './stand.ts';

export interface Greeted {
  /** The end of the replica, which has no session. */
  readonly near: FrameTransport;
  /** The same, below its transport. */
  readonly end: Duplex;
  readonly server: ServerSession;
  /** The server's. */
  readonly transport: FrameTransport;
  /** The names of the frames that it got. */
  readonly got: readonly string[];
  /** Whether the server has ended the connection. */
  readonly ended: () => boolean;
  close(): void;
}

/** `features`: of the replica. */
export async function greeted(options: {
  features: number;
  node?: LocalNode;
  verifier?: VerifyHost;
  upstream?: Partial<Upstream>;
  store?: MemoryStore;
  /** What it says that it has. */
  positions?: ReadonlyMap<string, Position>;
  patterns?: readonly string[];
}): Promise<Greeted> {
  const { features, node = REPLICA, verifier = NO_VERIFIER, upstream = {} } = options;
  const { store = new MemoryStore(), positions = new Map(), patterns } = options;
  const [end, far] = duplexPair();
  const [clientNonce, serverNonce] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const transport = new FrameTransport(far, { holdsReading: true });
  const server = serverOn(far, {
    transport,
    store,
    nonce: serverNonce,
    verifier,
    upstream: () => ({ ...UPSTREAM, ...upstream }),
  });
  const near = new FrameTransport(end);
  const got: string[] = [];
  near.start({ frame: ({ type }: Frame) => got.push(frameName(type)), closed() {} });
  const about = { advertiseUrl: '', primaryHostname: '', primaryProxy: '', release: '' };
  near.send('HELLO', encodeHello({ ...node, ...about, features, nonce: clientNonce }));
  const ids = { clientId: REPLICA.nodeId, serverId: PRIMARY.nodeId };
  near.send('AUTH', proof(undefined, 'client', { clientNonce, serverNonce, ...ids }));
  near.send('SUBSCRIBE', encodeSubscription({ positions: new Map(positions), patterns }));
  await settle();
  return {
    near,
    end,
    server,
    transport,
    got,
    ended: () => far.destroyed,
    close: () => end.destroy(),
  };
}
