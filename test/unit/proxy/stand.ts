/** A proxy on loopback before an application that a test makes, of a node that a test thinks up. */
import http from 'node:http';
import type net from 'node:net';
import type { AddressInfo } from 'node:net';
import type { NodeFacts } from '../../../src/proxy/decide.ts';
import type { ProxyNode } from '../../../src/proxy/node.ts';
import { type Answered, type ProxySettings, startProxy } from '../../../src/proxy/server.ts';

export interface StandOptions {
  readonly facts?: Partial<NodeFacts>;
  readonly settings?: Partial<ProxySettings>;
  readonly node?: Partial<ProxyNode>;
  readonly answered?: (answer: Answered) => void;
}

/** Each is a node of its own. */
let stands = 0;

/** The proxy's port while `body` runs. The application is an HTTP server, or one that speaks bytes. */
export async function withProxy(
  app: http.RequestListener | net.Server,
  body: (port: number) => Promise<void>,
  options: StandOptions = {},
): Promise<void> {
  const server = typeof app === 'function' ? http.createServer(app) : app;
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = (server.address() as AddressInfo).port;
  try {
    const proxy = await startProxy(
      nodeOf(options),
      settingsOf(port, options),
      options.answered ?? (() => {}),
    );
    try {
      await body(proxy.port);
    } finally {
      await proxy.close();
    }
  } finally {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  }
}

export interface Got {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** The answer to a request, by a connection of its own. Rejects when none comes. */
export function get(
  port: number,
  path: string,
  options: http.RequestOptions = {},
  body?: string,
): Promise<Got> {
  const signal = AbortSignal.timeout(10_000);
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: '127.0.0.1',
      port,
      path,
      agent: false,
      signal,
      ...options,
    });
    request.on('error', reject);
    request.on('response', (answer) => {
      const { statusCode: status = 0, headers } = answer;
      let text = '';
      answer.on('data', (chunk) => (text += chunk));
      answer.on('error', reject);
      answer.on('end', () => resolve({ status, headers, text }));
    });
    request.end(body);
  });
}

function nodeOf({ facts, node }: StandOptions): ProxyNode {
  const txids = new Map<string, number>();
  return {
    facts: () => ({
      isPrimary: true,
      hostname: 'box',
      primaryHostname: 'box',
      primaryUrl: undefined,
      txids,
      heard: () => ({ txids, said: undefined }),
      ...facts,
    }),
    lagMs: () => 0,
    flush: async () => ({ txids, isCertain: true }),
    waitForTxids: async () => false,
    waitForPrimary: async () => false,
    troubles: () => [],
    membership: () => ({ clusterId: '0123456789abcdef', term: 1 }),
    isPeer: () => false,
    warn: () => {},
    ...node,
  };
}

function settingsOf(port: number, { settings }: StandOptions): ProxySettings {
  return {
    addr: { host: '127.0.0.1', port: 0 },
    target: { host: '127.0.0.1', port },
    databases: ['app.db'],
    passthrough: [],
    alwaysForward: [],
    websocket: 'local',
    onWrite: 'forward',
    onStale: 'forward',
    readYourWritesMs: 0,
    primaryMs: 0,
    responseHeaders: true,
    replayBodyBytesMax: 2 ** 20,
    replayMemoryBytesMax: 2 ** 26,
    trusted: [],
    secret: undefined,
    pseudonym: `stand-${++stands}`,
    descriptorsMax: Infinity,
    connectionsMax: 0,
    connectionsPerAddressMax: 0,
    progressMs: 0,
    maxLagMs: 0,
    requestMs: 0,
    headersMs: 0,
    answerMs: 0,
    idleMs: 30_000,
    ...settings,
  };
}
