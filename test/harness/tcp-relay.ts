/** Stands between the two ends of TCP connections on this machine. */
import net from 'node:net';

export interface TcpRelay {
  readonly port: number;
  /** Ends the connections; others may come. */
  cut(): void;
  close(): void;
}

/** Leads to a port of this machine. `join` passes on what comes on either side of a connection. */
export function tcpRelay(
  targetPort: number,
  join: (near: net.Socket, far: net.Socket) => void,
): Promise<TcpRelay> {
  const sockets = new Set<net.Socket>();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
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
    join(near, far);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve({
        port: (server.address() as net.AddressInfo).port,
        cut,
        close() {
          server.close();
          cut();
        },
      });
    });
  });
}
