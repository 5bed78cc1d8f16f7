/** A peer that has the secret, and says whatever a test wants: a replica's end of a connection, or a server's. */
import { once } from 'node:events';
import net from 'node:net';
import type { Position } from '../../src/ltx/position.ts';
import { proof } from '../../src/replication/auth.ts';
import { FRAME_TYPES, type Frame, frameName } from '../../src/replication/frame.ts';
import {
  decodeHello,
  encodeHello,
  encodePositions,
  encodeSubscription,
} from '../../src/replication/messages.ts';
import { FrameTransport } from '../../src/replication/transport.ts';

export interface HostilePeer {
  readonly transport: FrameTransport;
  /** Below it. */
  readonly socket: net.Socket;
  /** Names of the frames that have come. */
  readonly got: readonly string[];
  close(): void;
}

export interface Disguise {
  readonly secret: string;
  readonly nodeId: string;
  readonly hostname?: string;
  /** Where it connects from. */
  readonly localAddress?: string;
}

const ABOUT = { term: 0, advertiseUrl: '', primaryHostname: '', primaryProxy: '', release: '' };
const NONCE = Buffer.alloc(32, 7);
const FEATURES = 2 | 4 | 8 | 16;

/** Follows a node, with nothing, and wants all. Resolves when it is taken for a replica. */
export async function hostileReplica(port: number, disguise: Disguise): Promise<HostilePeer> {
  const { secret, nodeId, hostname = 'evil', localAddress } = disguise;
  const socket = net.connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {});
  await once(socket, 'connect');
  const transport = new FrameTransport(socket);
  const got: string[] = [];
  const subscribed = Promise.withResolvers<void>();
  transport.start({
    frame({ type, payload }: Frame) {
      got.push(frameName(type));
      if (type === FRAME_TYPES.HELLO) {
        const { nonce, nodeId: serverId } = decodeHello(payload);
        const nonces = { clientNonce: NONCE, serverNonce: nonce };
        transport.send('AUTH', proof(secret, 'client', { ...nonces, clientId: nodeId, serverId }));
        transport.trust();
      } else if (type === FRAME_TYPES.WELCOME) {
        const all = { positions: new Map(), patterns: undefined };
        transport.send('SUBSCRIBE', encodeSubscription(all));
      } else if (type === FRAME_TYPES.SUBSCRIBED) subscribed.resolve();
    },
    closed: (error) => subscribed.reject(error ?? new Error(`closed after ${got.join()}`)),
  });
  subscribed.promise.catch(() => {});
  const hello = { ...ABOUT, features: FEATURES, role: 'replica', clusterId: '' } as const;
  transport.send('HELLO', encodeHello({ ...hello, hostname, nodeId, nonce: NONCE }));
  await subscribed.promise;
  return { transport, socket, got, close: () => socket.destroy() };
}

export interface HostileServer {
  readonly port: number;
  close(): void;
}

/** Lets replicas follow it, tells them of these databases, and then does what it likes. */
export async function hostileServer(
  disguise: Omit<Disguise, 'localAddress'> & { readonly clusterId: string },
  positions: ReadonlyMap<string, Position>,
  follow: (transport: FrameTransport, round: number) => void,
): Promise<HostileServer> {
  const { secret, nodeId, hostname = 'evil', clusterId } = disguise;
  const sockets = new Set<net.Socket>();
  let rounds = 0;
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    const transport = new FrameTransport(socket);
    let clientId = '';
    let clientNonce: Buffer = NONCE;
    const frame = ({ type, payload }: Frame) => {
      if (type === FRAME_TYPES.HELLO) {
        ({ nodeId: clientId, nonce: clientNonce } = decodeHello(payload));
        const hello = { ...ABOUT, term: 1, features: FEATURES, role: 'primary' } as const;
        transport.send(
          'HELLO',
          encodeHello({ ...hello, hostname, nodeId, clusterId, nonce: NONCE }),
        );
      } else if (type === FRAME_TYPES.AUTH) {
        const nonces = { clientNonce, serverNonce: NONCE };
        const ids = { clientId, serverId: nodeId };
        transport.send('AUTH', proof(secret, 'server', { ...nonces, ...ids }));
        transport.send('WELCOME');
        transport.trust();
      } else if (type === FRAME_TYPES.SUBSCRIBE) {
        transport.send('SUBSCRIBED', encodePositions(positions));
        follow(transport, rounds++);
      }
    };
    transport.start({ frame, closed: () => sockets.delete(socket) });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
