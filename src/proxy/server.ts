/** The proxy's listener, with its limits. */
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { errorText, LiteFsError } from '../errors.ts';
import { plainAddress } from '../os/addresses.ts';
import { type ExchangeSettings, Exchanges, endStalled, type Outcome } from './exchange.ts';
import { Gate, type GateSettings } from './gate.ts';
import type { ProxyNode } from './node.ts';
import { Presence } from './presence.ts';
import { ProgressWatch } from './progress.ts';
import { isUpgrade } from './rules.ts';
import { passUpgrade } from './upgrade.ts';
import { descriptorOf, HEADER_BYTES_MAX } from './upstream.ts';

export interface ProxySettings extends ExchangeSettings, GateSettings {
  readonly addr: { readonly host: string | undefined; readonly port: number };
  /** ms, 0 for none: for a whole request, its headers, an answer, an unused connection. */
  readonly requestMs: number;
  readonly headersMs: number;
  readonly answerMs: number;
  readonly idleMs: number;
  /** How long nothing of a body may move, ms; 0 for any time. */
  readonly progressMs: number;
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
/** Of progress-timeout, how often bodies are looked at: what has stalled is found that much late at most. */
const LOOKS = 4;
const LOOK_MS_MAX = 5000;

/** To those that are not let in; there is no request yet that could be answered. */
const TURNED_AWAY =
  'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n';

/** Listens. Rejects with LISTEN when the address is taken. `answered` is told of each request. */
export function startProxy(
  node: ProxyNode,
  settings: ProxySettings,
  answered: (answer: Answered) => void,
): Promise<RunningProxy> {
  const exchanges = new Exchanges(node, settings);
  const upgraded = new Set<Duplex>();
  const gate = new Gate(
    settings,
    (address) => exchanges.entrance.trusted.has(address) || node.isPeer(address),
  );
  const progress = new Progress(settings.progressMs);
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
    const done = progress.watch(request, response);
    response.on('close', () => {
      client.leave();
      done?.();
    });
    response.on('error', () => {});
    const timer =
      settings.answerMs > 0 ? setTimeout(() => response.destroy(), settings.answerMs) : undefined;
    exchanges.handle(request, response, client).then((outcome) => {
      clearTimeout(timer);
      tell(request, startedMs, { ...outcome, status: response.statusCode });
    });
  };
  // Before Node reads anything of it.
  const serve = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket) => {
    const address = plainAddress(socket.remoteAddress);
    const refusal = gate.enter(address, descriptorOf(socket));
    if (refusal !== undefined) {
      node.warn(`the proxy turns connections away: ${refusal}`);
      turnAway(socket);
      return;
    }
    socket.once('close', () => gate.leave(address));
    for (const listener of serve) listener.call(server, socket);
  });
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
          progress.stop();
          exchanges.close();
          await closed;
        },
      });
    });
  });
}

/** Nothing is read from it. */
function turnAway(socket: Socket): void {
  socket.on('error', () => {});
  socket.end(TURNED_AWAY);
  socket.destroySoon();
}

/** Looks after all bodies, by one timer. */
class Progress {
  readonly #watch: ProgressWatch<Watched> | undefined;
  readonly #timer: NodeJS.Timeout | undefined;

  /** `stallMs`: 0 for no limit. */
  constructor(stallMs: number) {
    if (stallMs === 0) return;
    const watch = new ProgressWatch<Watched>(stallMs, ({ request, response, socket }) => {
      if (response.headersSent) socket.destroy();
      else endStalled(request, response);
    });
    this.#watch = watch;
    const everyMs = Math.min(stallMs / LOOKS, LOOK_MS_MAX);
    this.#timer = setInterval(() => watch.look(performance.now()), everyMs).unref();
  }

  /** The result is to be called once the answer has ended. */
  watch(request: http.IncomingMessage, response: http.ServerResponse): (() => void) | undefined {
    const watch = this.#watch;
    if (!watch) return undefined;
    const transfer = { request, response, socket: request.socket };
    watch.add(transfer, performance.now());
    return () => watch.answered(transfer);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

interface Watched {
  readonly request: http.IncomingMessage;
  readonly response: http.ServerResponse;
  readonly socket: Socket;
}
