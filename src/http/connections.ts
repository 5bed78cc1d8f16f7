/** How many connections a server takes, in all and from one address: who holds many must not lock out the others. */
import type net from 'node:net';

export interface ConnectionLimits {
  readonly inAll: number;
  /** From one address; without it no address is looked at. */
  readonly perAddress?: number;
}

/** Those beyond are closed at once. */
export function limitConnections(
  server: net.Server,
  { inAll, perAddress = inAll }: ConnectionLimits,
): void {
  server.maxConnections = inAll;
  const counts = new Map<string, number>();
  // Before anything else is made of it.
  server.prependListener('connection', (socket: net.Socket) => {
    // One that has gone already has none.
    const address = socket.remoteAddress ?? '';
    const count = (counts.get(address) ?? 0) + 1;
    counts.set(address, count);
    socket.once('close', () => {
      const left = (counts.get(address) ?? 1) - 1;
      if (left === 0) counts.delete(address);
      else counts.set(address, left);
    });
    if (count > perAddress) socket.destroy();
  });
}
