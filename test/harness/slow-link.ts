/** A TCP connection that takes its time: what goes through it arrives in order, each piece after a random delay. */
import net from 'node:net';
import type { SeededRandom } from './random.ts';

export interface SlowLink {
  readonly port: number;
  close(): void;
}

/** Leads to a port of this machine, with up to `delayMs` in each direction. */
export function slowLink(
  targetPort: number,
  random: SeededRandom,
  delayMs: number,
): Promise<SlowLink> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((near) => {
    const far = net.connect(targetPort, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    delayed(near, far, random, delayMs);
    delayed(far, near, random, delayMs);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve({
        port: (server.address() as net.AddressInfo).port,
        close() {
          server.close();
          for (const socket of sockets) socket.destroy();
        },
      });
    });
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
