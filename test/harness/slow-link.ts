/** A TCP connection that takes its time: what goes through it arrives in order, each piece after a random delay. */
import type net from 'node:net';
import type { SeededRandom } from './random.ts';
import { type TcpRelay, tcpRelay } from './tcp-relay.ts';

/** Leads to a port of this machine, with up to `delayMs` in each direction. */
export function slowLink(
  targetPort: number,
  random: SeededRandom,
  delayMs: number,
): Promise<TcpRelay> {
  return tcpRelay(targetPort, (near, far) => {
    delayed(near, far, random, delayMs);
    delayed(far, near, random, delayMs);
  });
}

function delayed(from: net.Socket, to: net.Socket, random: SeededRandom, delayMs: number): void {
  let last = Promise.resolve();
  from.on('data', (chunk) => {
    const arrived = new Promise((resolve) => setTimeout(resolve, random.below(delayMs + 1)));
    last = last.then(async () => {
      await arrived;
      to.write(chunk);
    });
  });
}
