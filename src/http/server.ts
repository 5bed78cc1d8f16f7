/**
 * The node's HTTP API, with limits: at a port, and at a Unix socket of this machine, which has connections of its own, so
 * that strangers do not lock out the commands. What it answers is in routes.ts, the limits are in docs/limits.md.
 */
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { errorText, LiteFsError } from '../errors.ts';
import { type Caller, callerOf } from './caller.ts';
import { limitConnections } from './connections.ts';
import { listenLocally } from './local-socket.ts';
import { Router, type RouterOptions } from './router.ts';

export interface HttpServer {
  readonly port: number;
  /** Ends what is under way; resolves when every route has let go. */
  close(): Promise<void>;
}

export interface HttpAddresses {
  readonly host: string | undefined;
  readonly port: number;
  /** Where the socket is, of a node that listens at this port; undefined: there is none. */
  readonly socketAt?: (port: number) => string;
}

const HEADER_BYTES_MAX = 16 * 1024;
/** From the first byte of a connection to the end of the headers. */
const HEADERS_MS_MAX = 10_000;
const CHECK_MS = 2000;
const CONNECTIONS_MAX = 1024;
const CONNECTIONS_PER_ADDRESS_MAX = 256;
const LOCAL_CONNECTIONS_MAX = 256;

/** Listens. Throws LISTEN when the port or the socket is taken. */
export async function startHttpServer(
  options: RouterOptions,
  addresses: HttpAddresses,
): Promise<HttpServer> {
  const router = new Router(options);
  const stop = new AbortController();
  const running = new Set<Promise<void>>();
  const servers: http.Server[] = [];
  const open = (isLocal: boolean): http.Server => {
    const callers = new WeakMap<Socket, Caller>();
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
        const caller = callers.get(request.socket) ?? callerOf(request.socket, isLocal);
        const answer = router.handle(request, response, caller, signal);
        running.add(answer);
        answer.finally(() => running.delete(answer));
      },
    );
    server.on('connection', (socket) => callers.set(socket, callerOf(socket, isLocal)));
    servers.push(server);
    return server;
  };
  const close = async () => {
    stop.abort();
    const closed = servers.map((server) => new Promise((done) => server.close(done)));
    for (const server of servers) server.closeAllConnections();
    await Promise.all([...closed, ...running]);
  };
  try {
    const server = open(false);
    limitConnections(server, { inAll: CONNECTIONS_MAX, perAddress: CONNECTIONS_PER_ADDRESS_MAX });
    await listenAtPort(server, addresses);
    const { port } = server.address() as AddressInfo;
    if (addresses.socketAt) {
      const local = open(true);
      limitConnections(local, { inAll: LOCAL_CONNECTIONS_MAX });
      await listenLocally(local, { file: addresses.socketAt(port), gid: options.admission.gid });
    }
    return { port, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function listenAtPort(server: http.Server, { host, port }: HttpAddresses): Promise<void> {
  return new Promise((resolve, reject) => {
    // Later ones are of connections that the system cannot accept for want of descriptors or memory: others can come.
    server.on('error', (error) => {
      reject(
        new LiteFsError(
          'LISTEN',
          `cannot listen on ${host ?? ''}:${port} for HTTP: ${errorText(error)}`,
          { hint: 'Set http.addr to a free port.', cause: error },
        ),
      );
    });
    server.listen(port, host, resolve);
  });
}
