/** From where a request comes: over TCP, or from a process of this machine over the node's socket. */
import type net from 'node:net';
import { type Peer, peerOf } from '../os/peer.ts';

export type Caller =
  | { readonly kind: 'tcp'; readonly address: string }
  /** `peer`: undefined when the kernel does not say which process it is. */
  | { readonly kind: 'local'; readonly peer: Peer | undefined };

/** Of a connection that was just accepted. */
export function callerOf(socket: net.Socket, isLocal: boolean): Caller {
  if (!isLocal) return { kind: 'tcp', address: socket.remoteAddress ?? 'unknown' };
  // Node keeps the descriptor to itself.
  const { fd } = (socket as unknown as { _handle?: { fd?: number } })._handle ?? {};
  return { kind: 'local', peer: fd === undefined || fd < 0 ? undefined : peerOrNone(fd) };
}

function peerOrNone(fd: number): Peer | undefined {
  try {
    return peerOf(fd);
  } catch {
    return undefined;
  }
}

/** For the log. */
export function callerText(caller: Caller): string {
  if (caller.kind === 'tcp') return `${caller.address}, with the secret`;
  const { peer } = caller;
  return peer ? `user ${peer.uid}, process ${peer.pid}` : 'a process of this machine';
}
