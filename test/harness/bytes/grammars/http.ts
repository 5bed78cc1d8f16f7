/**
 * Bytes over a socket, to the API of a node and to its proxy: requests with everything in them changed, several on a connection,
 * in pieces. A connection is answered or closed, and the server goes on answering others.
 */
import assert from 'node:assert/strict';
import type http from 'node:http';
import net from 'node:net';
import { LiteFsError } from '../../../../src/errors.ts';
import { EventStreams } from '../../../../src/http/events.ts';
import { apiRoutes, type NodeApi } from '../../../../src/http/routes.ts';
import { admits, withServer } from '../../../unit/http/serve.ts';
import { withProxy } from '../../../unit/proxy/stand.ts';
import type { SeededRandom } from '../../random.ts';
import type { Fuzzed, Grammar, Verdict } from '../grammar.ts';
import { edge, mutate, noise, oddText, pieces } from '../mutate.ts';

const METHODS = [
  'GET',
  'GET',
  'POST',
  'POST',
  'HEAD',
  'DELETE',
  'PUT',
  'OPTIONS',
  'CONNECT',
  'TRACE',
  'PRI',
  'get',
  '',
];
const VERSIONS = [
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/2.0',
  'HTTP/0.9',
  'HTTP/1.1 ',
  'http/1.1',
];
const HEADERS = [
  'Host: localhost',
  'Host: a.example',
  'Host: [::1]:80',
  'Host: ',
  'Connection: close',
  'Connection: keep-alive',
  'Connection: upgrade',
  'Upgrade: websocket',
  'Upgrade: h2c',
  'Expect: 100-continue',
  'Expect: x',
  'TE: trailers',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: gzip, chunked',
  'Content-Length: 5',
  'Content-Length: 0',
  'Content-Length: -1',
  'Content-Length: 18446744073709551616',
  'Cookie: __txid=000000000000002a',
  'Via: 1.1 stand-1',
  'Authorization: Bearer sesame',
  'Authorization: Bearer',
  'X-Forwarded-For: 1.2.3.4',
  'Litefs-Forwarded-By: box2',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version: 13',
  'Accept: */*',
  'fly-replay: elsewhere=true',
  ' folded: x',
  'no colon',
  'X: \x01\x02',
  'Range: bytes=0-',
  'Trailer: X',
];
const MS_MAX = 3000;
const QUIET_MS = 15;

function query(random: SeededRandom): string {
  const odd = () => encodeURIComponent(oddText(random).replace(/[\ud800-\udfff]/g, ''));
  return random.pick([
    '',
    '?name=app.db',
    `?name=${odd()}`,
    `?name=app.db&id=${edge(random)}`,
    `?${odd()}`,
    '?name=%zz%00',
  ]);
}

/** One request. `isSound`: such as any client would send. */
function request(random: SeededRandom, paths: readonly string[]): Buffer {
  const isSound = random.below(4) === 0;
  const path = `${random.pick(paths)}${query(random)}`;
  if (isSound) return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 'latin1');
  const target = random.pick([
    path,
    path,
    `http://localhost${path}`,
    `//${path}`,
    '*',
    oddText(random),
    '',
  ]);
  const headers = Array.from({ length: random.below(7) }, () => random.pick(HEADERS));
  if (random.below(3) > 0) headers.unshift('Host: localhost');
  if (random.below(40) === 0) headers.push(`X-Long: ${'x'.repeat(random.below(100_000))}`);
  if (random.below(40) === 0)
    headers.push(...Array.from({ length: random.below(3000) }, (_, i) => `a${i}: b`));
  const head = `${random.pick(METHODS)} ${target} ${random.pick(VERSIONS)}\r\n${headers.join('\r\n')}\r\n\r\n`;
  const bytes = Buffer.concat([Buffer.from(head, 'latin1'), body(random)]);
  return random.below(2) === 0 ? mutate(random, bytes) : bytes;
}

function body(random: SeededRandom): Buffer {
  switch (random.below(5)) {
    case 0:
      return Buffer.from('hello');
    case 1:
      return Buffer.from('5\r\nhello\r\n0\r\n\r\n');
    case 2:
      return Buffer.from(`${edge(random).toString(16)};x=y\r\nhello\r\n0\r\nX: y\r\n\r\n`);
    case 3:
      return noise(random, random.below(2000));
    default:
      return Buffer.alloc(0);
  }
}

/** Sends it, says that it has ended once nothing more comes, and reads to the end of the connection. */
function converse(port: number, parts: readonly Buffer[], quietMs = QUIET_MS): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let answer = '';
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`neither answered nor closed: ${JSON.stringify(answer.slice(0, 200))}`));
    }, MS_MAX);
    // Not at once: a client that ends its side has gone, to a proxy.
    const end = () => socket.end();
    let quiet = setTimeout(end, quietMs);
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => {
      clearTimeout(quiet);
      quiet = setTimeout(end, quietMs);
      answer = `${answer}${chunk}`.slice(0, 100_000);
    });
    // It may be closed before all is sent.
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      clearTimeout(quiet);
      resolve(answer);
    });
    for (const part of parts) socket.write(part);
    // A server that has answered and waits for nothing more closes its side; a stream would go on.
    socket.on('end', () => socket.destroy());
  });
}

/** Whether the first thing that came back is an answer, and of which kind. */
function verdictOf(answer: string): Verdict {
  if (answer === '') return 'refused';
  const status = Number(/^HTTP\/1\.[01] (\d\d\d) /.exec(answer)?.[1]);
  assert(
    status >= 100 && status < 600,
    `an answer that is none: ${JSON.stringify(answer.slice(0, 80))}`,
  );
  return status < 400 ? 'value' : 'refused';
}

/** Keeps a server that lives for as long as a function runs, until it is closed. */
async function kept(
  run: (body: (port: number) => Promise<void>) => Promise<void>,
): Promise<{ port: number; close(): Promise<void> }> {
  let close = () => {};
  const closed = new Promise<void>((resolve) => {
    close = resolve;
  });
  const port = Promise.withResolvers<number>();
  const running = run(async (listening) => {
    port.resolve(listening);
    await closed;
  });
  running.catch(port.reject);
  return {
    port: await port.promise,
    async close() {
      close();
      await running;
    },
  };
}

async function isAnswering(port: number, path: string): Promise<void> {
  const asked = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
  const answer = await converse(port, [Buffer.from(asked)], MS_MAX);
  assert.match(answer, /^HTTP\/1\.1 200 /, 'others are not answered any more');
}

/** One after the other on one connection. */
function requests(random: SeededRandom, paths: readonly string[]): Buffer {
  return Buffer.concat(Array.from({ length: 1 + random.below(3) }, () => request(random, paths)));
}

const PER_LOOK = 20;
const BOUNDS = { ms: MS_MAX + 1000, perByte: 4096, anyway: 64 << 20 };

/** A node that takes whatever it is asked. */
function node(events: EventStreams): NodeApi {
  const taken = async (_: string, source: http.IncomingMessage) => {
    for await (const _chunk of source);
    return {};
  };
  return new Proxy({} as NodeApi, {
    get(_, name) {
      if (name === 'events') return events;
      if (name === 'metrics') return { contentType: 'text/plain', text: async () => 'x 1\n' };
      if (name === 'health') return async () => ({ status: 'ok' });
      if (name === 'import' || name === 'restore') return taken;
      if (name === 'verify') {
        return async (database: string) => {
          throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${database}`);
        };
      }
      if (name === 'export') {
        return async (_name: string, begin: (bytes: number) => http.ServerResponse) => {
          begin(2).end('ab');
        };
      }
      return () => ({ databases: [] });
    },
  });
}

export const api: Grammar = {
  name: 'api',
  reads: 'raw bytes to the HTTP API',
  codes: [],
  bounds: BOUNDS,
  isStateful: true,
  async begin(): Promise<Fuzzed> {
    const failures: unknown[] = [];
    const events = new EventStreams();
    const routes = apiRoutes(node(events)).filter(({ path }) => path !== '/events');
    const paths = [...routes.map(({ path }) => path), '/nothing', '/../info', '/info/'];
    const server = await kept((run) =>
      withServer(
        {
          routes,
          admission: admits('sesame'),
          failed: (what, error) => failures.push(new Error(what, { cause: error })),
        },
        run,
      ),
    );
    let count = 0;
    return {
      make(random) {
        const sent = requests(random, paths);
        const parts = pieces(random, sent);
        return {
          bytes: sent.length,
          async take() {
            const verdict = verdictOf(await converse(server.port, parts));
            const [failure] = failures.splice(0);
            if (failure && !isConnection(failure)) throw failure;
            if (++count % PER_LOOK === 0) await isAnswering(server.port, '/info');
            return verdict;
          },
        };
      },
      end: () => server.close(),
    };
  },
};

/** What the end of a connection makes of what was being read. */
function isConnection(failure: unknown): boolean {
  const { cause } = failure as { cause?: { code?: string } };
  return ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'ABORT_ERR', 'EPIPE'].includes(
    cause?.code ?? '',
  );
}

export const proxy: Grammar = {
  name: 'proxy',
  reads: 'raw bytes to the proxy, before an application that counts what it gets',
  codes: [],
  bounds: BOUNDS,
  isStateful: true,
  async begin(): Promise<Fuzzed> {
    let [asked, answered] = [0, 0];
    let odd: string | undefined;
    const app: http.RequestListener = (incoming, response) => {
      asked++;
      const { host } = incoming.headers;
      // The proxy has decided by one reading: the application must have the same.
      if (host === undefined) odd = `without Host: ${incoming.rawHeaders.join('|')}`;
      if (incoming.headers['litefs-forwarded-by'] !== undefined) odd = 'with a word of a node';
      incoming.on('error', () => {});
      incoming.resume();
      incoming.on('end', () => response.end('ok'));
    };
    const server = await kept((run) =>
      withProxy(app, run, {
        answered: () => {
          answered++;
        },
        settings: { headersMs: 1000, requestMs: 2000, answerMs: 2000, progressMs: 1000 },
      }),
    );
    const paths = ['/', '/a/b', '/litefs/health', '/x.png', '/%61', '/a?b=c'];
    let count = 0;
    return {
      make(random) {
        const sent = requests(random, paths);
        const parts = pieces(random, sent);
        return {
          bytes: sent.length,
          async take() {
            const verdict = verdictOf(await converse(server.port, parts));
            assert.equal(odd, undefined);
            if (++count % PER_LOOK === 0) await isAnswering(server.port, '/');
            return verdict;
          },
        };
      },
      async end() {
        await server.close();
        // More than one request for one that was taken in: part of a body was taken for a request.
        assert(asked <= answered, `the application got ${asked} requests of ${answered}`);
      },
    };
  },
};
