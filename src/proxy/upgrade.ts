/** A connection that becomes something else, a WebSocket mostly: passed on as bytes in both directions. */
import type http from 'node:http';
import type { Duplex } from 'node:stream';
import { errorText } from '../errors.ts';
import type { Exchanges } from './exchange.ts';
import { requestHeaders, responseHeaders } from './headers.ts';
import type { Presence } from './presence.ts';
import type { Upstream } from './upstream.ts';

const RETRY_MS = 1000;

/** Decides as for any request. Never rejects. */
export async function passUpgrade(
  exchanges: Exchanges,
  request: http.IncomingMessage,
  socket: Duplex,
  head: Buffer,
  client: Presence,
): Promise<void> {
  socket.on('error', () => socket.destroy());
  try {
    const decision = await exchanges.decide(request, client);
    if (decision.to === 'target') await pass(exchanges.target, request, socket, head, client);
    else if (decision.to === 'primary') {
      const { hostname } = exchanges.node.facts();
      await pass(exchanges.upstreamOf(decision.url), request, socket, head, client, hostname);
    } else if (decision.to === 'redirect') {
      refuse(socket, 307, 'Temporary Redirect', '', [`Location: ${decision.location}`]);
    } else if (decision.to === 'fly-replay') {
      refuse(socket, 409, 'Conflict', '', [`Fly-Replay: instance=${decision.instance}`]);
    } else {
      refuse(socket, 503, 'Service Unavailable', 'reason' in decision ? decision.reason : '');
    }
  } catch (error) {
    refuse(socket, 502, 'Bad Gateway', errorText(error));
  }
}

async function pass(
  upstream: Upstream,
  request: http.IncomingMessage,
  socket: Duplex,
  head: Buffer,
  client: Presence,
  forwardedBy?: string,
): Promise<void> {
  const facts = {
    address: request.socket.remoteAddress ?? 'unknown',
    host: request.headers.host,
    encrypted: false,
  };
  const headers = [
    ...requestHeaders(request.rawHeaders, facts, forwardedBy),
    'Connection',
    'Upgrade',
    'Upgrade',
    request.headers.upgrade ?? '',
  ];
  const { method = 'GET', url: path = '/' } = request;
  const upward = await upstream.open(
    { method, path, headers },
    { retryMs: RETRY_MS, fresh: true, client },
  );
  client.onLeave = () => upward.destroy();
  upward.on('error', () => socket.destroy());
  upward.on('upgrade', (answer, other, first) => {
    client.onLeave = () => other.destroy();
    other.on('error', () => other.destroy());
    socket.write(statusLine(answer, answer.rawHeaders), 'latin1');
    if (first.length > 0) socket.write(first);
    if (head.length > 0) other.write(head);
    other.on('close', () => socket.destroy());
    other.pipe(socket);
    socket.pipe(other);
  });
  // The other side does not want to: its answer is passed on, and the connection ends with it.
  upward.on('response', (answer) => {
    const passed = responseHeaders(answer.rawHeaders, { keepOurs: true });
    socket.write(statusLine(answer, [...passed, 'Connection', 'close']), 'latin1');
    // Where the end of the connection is the end of the answer, only a reset tells that it was cut off.
    answer.on('error', () => request.socket.resetAndDestroy());
    answer.pipe(socket);
  });
  upward.end();
}

/** In latin-1, as node:http has headers. */
function statusLine(answer: http.IncomingMessage, headers: readonly string[]): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage ?? ''}`];
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function refuse(
  socket: Duplex,
  status: number,
  name: string,
  reason: string,
  headers: readonly string[] = [],
): void {
  const lines = [
    `HTTP/1.1 ${status} ${name}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(reason)}`,
    ...headers,
    'Connection: close',
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${reason}`);
}
