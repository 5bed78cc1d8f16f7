/**
 * Whether a node would let us follow it, asked as a replica that nobody knows: the whole handshake, and goodbye before
 * anything is subscribed to. Nothing on the other side changes, not even the list of its replicas.
 */
import net from 'node:net';
import { hostname } from 'node:os';
import { errorText, LiteFsError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { isProof, proof } from './auth.ts';
import { FRAME_TYPES, type Frame } from './frame.ts';
import { decodeHello, decodeReject, encodeHello, type Hello, NONCE_BYTES } from './messages.ts';
import { FrameTransport } from './transport.ts';

export interface GreetOptions {
  readonly target: { readonly host: string; readonly port: number };
  readonly secret: string | undefined;
  readonly random: (bytes: number) => Buffer;
  readonly timeoutMs: number;
}

export interface Greeting {
  /** undefined when it refused us before it said who it is. */
  readonly server: Hello | undefined;
  /** Why it does not let us in, or must not be believed; undefined: it does. */
  readonly refusal: { readonly code: string; readonly text: string } | undefined;
}

const NODE_ID_BYTES = 8;

/** Rejects with PEER_UNREACHABLE when nobody answers, PROTOCOL when what answers is no node. */
export function greet(options: GreetOptions): Promise<Greeting> {
  const { target, secret, random, timeoutMs } = options;
  const where = `${target.host}:${target.port}`;
  const nonce = random(NONCE_BYTES);
  const nodeId = random(NODE_ID_BYTES).toString('hex');
  const socket = net.connect({ host: target.host, port: target.port });
  const timer = setTimeout(() => socket.destroy(new Error('no answer')), timeoutMs);
  const transport = new FrameTransport(socket);
  let connected = false;
  let server: Hello | undefined;
  let outcome: Greeting | undefined;

  const frame = ({ type, payload }: Frame) => {
    if (type === FRAME_TYPES.HELLO && !server) {
      server = decodeHello(payload);
      transport.send('AUTH', proof(secret, 'client', context(server)));
    } else if (type === FRAME_TYPES.REJECT) {
      outcome = { server, refusal: decodeReject(payload) };
      transport.end();
    } else if (type === FRAME_TYPES.AUTH && server) {
      if (isProof(payload, secret, 'server', context(server))) return;
      const text = `${server.hostname} does not know the secret that it asks for`;
      outcome = { server, refusal: { code: 'wrong-secret', text } };
      transport.end();
    } else if (type === FRAME_TYPES.WELCOME && server) {
      outcome ??= { server, refusal: undefined };
      transport.end();
    }
  };
  const context = ({ nonce: serverNonce, nodeId: serverId }: Hello) => ({
    clientNonce: nonce,
    serverNonce,
    clientId: nodeId,
    serverId,
  });

  return new Promise((resolve, reject) => {
    const closed = (error: Error | undefined) => {
      clearTimeout(timer);
      if (outcome) resolve(outcome);
      else reject(unanswered(where, connected, error));
    };
    transport.start({ frame, closed });
    socket.on('connect', () => {
      connected = true;
      const about = { clusterId: '', term: 0, role: 'replica', hostname: hostname() } as const;
      const nothing = { advertiseUrl: '', features: 0, primaryHostname: '', primaryProxy: '' };
      const hello = { nodeId, nonce, release: VERSION, ...about, ...nothing };
      transport.send('HELLO', encodeHello(hello));
    });
  });
}

function unanswered(where: string, connected: boolean, error: Error | undefined): LiteFsError {
  if (error instanceof LiteFsError && error.code !== 'PROTOCOL') return error;
  const why = error ? errorText(error) : 'it closed the connection';
  return connected
    ? new LiteFsError('PROTOCOL', `what listens at ${where} does not answer as a node: ${why}`)
    : new LiteFsError('PEER_UNREACHABLE', `nobody answers at ${where}: ${why}`);
}
