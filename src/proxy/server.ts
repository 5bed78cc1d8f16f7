/** The proxy's listener, with its limits. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { errorText, LiteFsError } from '../errors.ts';
import { type ExchangeSettings, Exchanges, type Outcome } from './exchange.ts';
import type { ProxyNode } from './node.ts';
import { Presence } from './presence.ts';
import { isUpgrade } from './rules.ts';
import { passUpgrade } from './upgrade.ts';
import { HEADER_BYTES_MAX, type Origin, Upstream } from './upstream.ts';

export interface ProxySettings extends ExchangeSettings {
  readonly addr: { readonly host: string | undefined; readonly port: number };
  readonly target: Origin;
  /** ms, 0 for none: for a whole request, its headers, an answer, an unused connection. */
  readonly requestMs: number;
  readonly headersMs: number;
  readonly answerMs: number;
  readonly idleMs: number;
}

export interface RunningProxy {
  readonly port: number;
  close(): Promise<void>;
}

export interface Answered extends Outcome {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly ms: number;
}

const CHECK_MS = 2000;

/** Listens. Rejects with LISTEN when the address is taken. `answered` is told of each request. */
export function startProxy(
  node: ProxyNode,
  settings: ProxySettings,
  answered: (answer: Answered) => void,
): Promise<RunningProxy> {
  const exchanges = new Exchanges(node, new Upstream(settings.target), settings);
  const upgraded = new Set<Duplex>();
  const server = http.createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: settings.headersMs,
    requestTimeout: settings.requestMs,
    keepAliveTimeout: settings.idleMs,
    connectionsCheckingInterval: CHECK_MS,
    // Without this the body of such a request would be taken for the new protocol's.
    shouldUpgradeCallback: ({ headers }) => isUpgrade(headers),
  });
  const tell = (
    request: http.IncomingMessage,
    startedMs: number,
    end: Outcome & { status: number },
  ) => {
    const { method = '', url: path = '' } = request;
    answered({ ...end, method, path, ms: performance.now() - startedMs });
  };
  const handle = (request: http.IncomingMessage, response: http.ServerResponse) => {
    const startedMs = performance.now();
    const client = new Presence();
    response.on('close', () => client.leave());
    response.on('error', () => {});
    const timer =
      settings.answerMs > 0 ? setTimeout(() => response.destroy(), settings.answerMs) : undefined;
    exchanges.handle(request, response, client).then((outcome) => {
      clearTimeout(timer);
      tell(request, startedMs, { ...outcome, status: response.statusCode });
    });
  };
  server.on('request', handle);
  server.on('checkContinue', handle);
  server.on('upgrade', (request, socket, head) => {
    upgraded.add(socket);
    const startedMs = performance.now();
    const client = new Presence();
    socket.on('close', () => {
      upgraded.delete(socket);
      client.leave();
    });
    passUpgrade(exchanges, { request, socket, head, client }).then((outcome) =>
      tell(request, startedMs, outcome),
    );
  });
  return new Promise((resolve, reject) => {
    const { host, port } = settings.addr;
    // Later ones are of connections that the system cannot accept for want of descriptors or memory: others can come.
    server.on('error', (error) => {
      const text = `the proxy cannot listen on ${host ?? ''}:${port}: ${errorText(error)}`;
      reject(
        new LiteFsError('LISTEN', text, { hint: 'Set proxy.addr to a free port.', cause: error }),
      );
    });
    server.listen(port, host, () => {
      resolve({
        port: (server.address() as AddressInfo).port,
        async close() {
          const closed = new Promise((done) => server.close(done));
          server.closeAllConnections();
          for (const socket of upgraded) socket.destroy();
          exchanges.close();
          await closed;
        },
      });
    });
  });
}
