/** A server on loopback for one test, and requests that fetch() would not send. */
import http from 'node:http';
import net from 'node:net';
import type { RouterOptions } from '../../../src/http/router.ts';
import { type HttpServer, startHttpServer } from '../../../src/http/server.ts';

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** Who shows this secret, and this process's own user; the status to all, or who shows that token. */
export function admits(
  secret: string | undefined,
  statusToken?: string,
): RouterOptions['admission'] {
  return { secret, statusToken, uid: process.geteuid?.() ?? 0, gid: undefined };
}

/** Serves while `body` runs, also at `socket`. */
export async function withServer(
  options: Partial<RouterOptions>,
  body: (port: number, server: HttpServer) => Promise<void>,
  socket?: string,
): Promise<void> {
  const server = await startHttpServer(
    { routes: [], admission: admits(undefined), isOwnName: () => false, ...options },
    { host: '127.0.0.1', port: 0, socketAt: socket === undefined ? undefined : () => socket },
  );
  try {
    await body(server.port, server);
  } finally {
    await server.close();
  }
}

export function ask(
  port: number,
  method: string,
  path: string,
  options: { headers?: http.OutgoingHttpHeaders; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { headers, body } = options;
    const request = http.request({ port, host: '127.0.0.1', method, path, headers, agent: false });
    request.on('error', reject);
    request.on('response', async (response) => {
      response.setEncoding('utf8');
      const text = (await response.toArray()).join('');
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
    });
    request.end(body);
  });
}

/** Sends bytes as they are; resolves with all that comes back until the end of the connection. */
export function sendRaw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1');
    let answer = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => (answer += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
    socket.write(text);
  });
}
