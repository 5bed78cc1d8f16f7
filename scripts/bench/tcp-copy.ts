/** The bar for synchronisation: the same bytes over TCP into a file, with one fsync at the end. */
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { pipeline } from 'node:stream/promises';
import { runJob } from './job.ts';

/** Seconds from the first byte's arrival to the end of the fsync. */
export async function tcpCopy(file: string, copy: string): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const received = once(server, 'connection').then(async ([socket]: net.Socket[]) => {
      const startedMs = performance.now();
      const output = fs.createWriteStream(copy, { flush: true });
      await pipeline(socket, output);
      return (performance.now() - startedMs) / 1000;
    });
    const { port } = server.address() as net.AddressInfo;
    const [seconds] = await Promise.all([received, runJob('tcp-copy', { file, port })]);
    return seconds;
  } finally {
    server.close();
  }
}
