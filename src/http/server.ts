/** The node's HTTP port: a listener with limits. What it answers is in routes.ts. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { errorText, LiteFsError } from '../errors.ts';
import { Router, type RouterOptions } from './router.ts';

export interface HttpServer {
  readonly port: number;
  /** Ends what is under way; resolves when every route has let go. */
  close(): Promise<void>;
}

const HEADER_BYTES_MAX = 16 * 1024;
/** From the first byte of a connection to the end of the headers. */
const HEADERS_MS_MAX = 10_000;
const CHECK_MS = 2000;
const CONNECTIONS_MAX = 1024;

/** Listens. Throws LISTEN when the address is taken. */
export function startHttpServer(
  options: RouterOptions,
  address: { host: string | undefined; port: number },
): Promise<HttpServer> {
  const router = new Router(options);
  const stop = new AbortController();
  const running = new Set<Promise<void>>();
  const server = http.createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_MS_MAX,
      // A large import takes its time; the route itself watches that it goes on.
      requestTimeout: 0,
      connectionsCheckingInterval: CHECK_MS,
    },
    (request, response) => {
      const gone = new AbortController();
      response.on('close', () => gone.abort());
      // What is written to a client that has gone is of no interest.
      response.on('error', () => {});
      const signal = AbortSignal.any([gone.signal, stop.signal]);
      const answer = router.handle(request, response, signal);
      running.add(answer);
      answer.finally(() => running.delete(answer));
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  return new Promise((resolve, reject) => {
    // Later ones are of connections that the system cannot accept for want of descriptors or memory: others can come.
    server.on('error', (error) => {
      reject(
        new LiteFsError(
          'LISTEN',
          `cannot listen on ${address.host ?? ''}:${address.port} for HTTP: ${errorText(error)}`,
          { hint: 'Set http.addr to a free port.', cause: error },
        ),
      );
    });
    server.listen(address.port, address.host, () => {
      resolve({
        port: (server.address() as AddressInfo).port,
        async close() {
          stop.abort();
          const closed = new Promise((done) => server.close(done));
          server.closeAllConnections();
          await Promise.all([closed, ...running]);
        },
      });
    });
  });
}
