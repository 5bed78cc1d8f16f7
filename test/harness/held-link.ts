/** A TCP connection on this machine through which nothing comes while it is held: whoever listens gets it later. */
import type net from 'node:net';
import { type TcpRelay, tcpRelay } from './tcp-relay.ts';

export interface HeldLink extends TcpRelay {
  /** What the port that it leads to says waits from now on. */
  hold(): void;
  release(): void;
}

/** Leads to a port of this machine. */
export async function heldLink(targetPort: number): Promise<HeldLink> {
  const answering = new Set<net.Socket>();
  let isHeld = false;
  const relay = await tcpRelay(targetPort, (near, far) => {
    near.on('data', (chunk) => far.write(chunk));
    far.on('data', (chunk) => near.write(chunk));
    answering.add(far);
    far.on('close', () => answering.delete(far));
    if (isHeld) far.pause();
  });
  return {
    ...relay,
    hold() {
      isHeld = true;
      for (const socket of answering) socket.pause();
    },
    release() {
      isHeld = false;
      for (const socket of answering) socket.resume();
    },
  };
}
