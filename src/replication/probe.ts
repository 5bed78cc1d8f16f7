/**
 * A primary asks the node at an address who it is: with a static lease two nodes may claim the role by mistake, and
 * nothing else would bring them together. HELLO both ways, and goodbye.
 */
import net from 'node:net';
import { judgePeer, type PeerFacts, type Verdict } from '../lease/judge.ts';
import { VERSION } from '../version.ts';
import { proof } from './auth.ts';
import { FRAME_TYPES } from './frame.ts';
import { decodeHello, encodeHello, NONCE_BYTES } from './messages.ts';
import type { LocalNode } from './parts.ts';
import { FrameTransport } from './transport.ts';

const TIMEOUT_MS = 5000;

export interface ProbeOptions {
  readonly target: { readonly host: string; readonly port: number };
  readonly local: LocalNode;
  readonly secret: string | undefined;
  readonly random: (bytes: number) => Buffer;
}

/**
 * Resolves with what is wrong between the two nodes; undefined when nothing is, or when it is ourselves. The other
 * side learns of it too. Rejects when nobody answers.
 */
export function probePrimary(options: ProbeOptions): Promise<Verdict | undefined> {
  const { target, local, secret, random } = options;
  const socket = net.connect({ host: target.host, port: target.port, timeout: TIMEOUT_MS });
  socket.on('timeout', () => socket.destroy(new Error('no answer')));
  const transport = new FrameTransport(socket);
  const nonce = random(NONCE_BYTES);
  return new Promise((resolve, reject) => {
    let verdict: Verdict | undefined;
    transport.start({
      frame({ type, payload }) {
        if (type !== FRAME_TYPES.HELLO) {
          transport.end();
          return;
        }
        const peer = decodeHello(payload);
        if (peer.nodeId === local.nodeId) {
          transport.end();
          return;
        }
        verdict = judge(local, peer);
        // With the proof the other side believes us, and warns as well.
        const context = {
          clientNonce: nonce,
          serverNonce: peer.nonce,
          clientId: local.nodeId,
          serverId: peer.nodeId,
        };
        transport.send('AUTH', proof(secret, 'client', context));
      },
      closed(error) {
        if (error) reject(error);
        else resolve(verdict);
      },
    });
    socket.on('connect', () => {
      transport.send(
        'HELLO',
        encodeHello({
          ...local,
          advertiseUrl: local.advertiseUrl ?? '',
          features: 0,
          nonce,
          primaryHostname: '',
          primaryProxy: '',
          release: VERSION,
        }),
      );
    });
  });
}

function judge(local: PeerFacts, peer: PeerFacts): Verdict | undefined {
  const verdict = judgePeer(local, peer);
  return verdict?.code === 'two-primaries' || verdict?.code === 'other-cluster'
    ? verdict
    : undefined;
}
