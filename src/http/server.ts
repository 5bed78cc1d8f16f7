/** The node's HTTP port: GET /info and GET /verify?name=, as JSON (info.ts). */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { errorText, LiteFsError } from '../errors.ts';
import type { ErrorReport, NodeReport, VerifyReport } from './info.ts';

/** What the API shows; the daemon implements it. */
export interface NodeView {
  info(): Promise<NodeReport>;
  /** Throws DATABASE_NOT_FOUND. */
  verify(database: string): Promise<VerifyReport>;
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

const STATUS_BY_CODE: Partial<Record<LiteFsError['code'], number>> = {
  DATABASE_NOT_FOUND: 404,
  USAGE: 400,
  WRONG_STATE: 503,
  DATABASE_BUSY: 503,
};

/** Listens. Throws LISTEN when the address is taken. */
export function startHttpServer(
  view: NodeView,
  address: { host: string | undefined; port: number },
): Promise<HttpServer> {
  const server = http.createServer((request, response) => {
    answer(view, request).then(
      (body) => send(response, 200, body),
      (error) => send(response, ...errorReport(error)),
    );
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
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
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections();
          }),
      });
    });
  });
}

async function answer(view: NodeView, request: http.IncomingMessage): Promise<unknown> {
  const url = new URL(request.url ?? '/', 'http://localhost');
  if (request.method !== 'GET') {
    throw new LiteFsError('USAGE', `${request.method} ${url.pathname} is not offered`);
  }
  if (url.pathname === '/info') return view.info();
  if (url.pathname === '/verify') {
    const name = url.searchParams.get('name');
    if (!name) throw new LiteFsError('USAGE', 'say which database: /verify?name=app.db');
    return view.verify(name);
  }
  throw new LiteFsError('DATABASE_NOT_FOUND', `there is nothing at ${url.pathname}`, {
    hint: 'There are /info and /verify?name=<database>.',
  });
}

function errorReport(error: unknown): [number, ErrorReport] {
  if (!(error instanceof LiteFsError)) {
    return [500, { code: 'INTERNAL', message: errorText(error) }];
  }
  const { code, message, hint } = error;
  return [STATUS_BY_CODE[code] ?? 500, { code, message, hint }];
}

function send(response: http.ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body, null, 2)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(text);
}
