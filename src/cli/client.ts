/**
 * Asking a running node over HTTP. What is not for everybody carries a secret (credentials.ts). By node:http: fetch gives
 * up when no answer has begun after 300 s, and a snapshot may take longer.
 */
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { pipeline, type Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import tls from 'node:tls';
import { ERROR_CODES, type ErrorCode, errorText, LiteFsError } from '../errors.ts';
import type { ErrorReport } from '../http/info.ts';
import type { Credentials } from './credentials.ts';
import type { NodeAddress } from './node-url.ts';

const TIMEOUT_MS = 10 * 60_000;
/** For what takes as long as it takes: a node that has gone is noticed by its connection. */
export const NO_LIMIT = Number.POSITIVE_INFINITY;
/** How long a connection is silent before it is tested. */
const KEEP_ALIVE_MS = 30_000;

/** The JSON at a path. `msMax`: for all of the answer. Throws NODE_UNREACHABLE, or what the node answered. */
export function getJson<T>(url: string, path: string, msMax = TIMEOUT_MS): Promise<T> {
  return ask<T>('GET', { url }, path, msMax);
}

/** The same for what is not for everybody. Throws PEER_REJECTED as well, as those below do. */
export function getGuardedJson<T>(node: NodeAddress, path: string, msMax: number): Promise<T> {
  return ask<T>('GET', node, path, msMax);
}

/** The same for what changes something. */
export function postJson<T>(node: NodeAddress, path: string, msMax = TIMEOUT_MS): Promise<T> {
  return ask<T>('POST', node, path, msMax);
}

/** The same for what takes something back. */
export function deleteJson<T>(node: NodeAddress, path: string): Promise<T> {
  return ask<T>('DELETE', node, path, TIMEOUT_MS);
}

type Method = 'GET' | 'POST' | 'DELETE';

async function ask<T>(
  method: Method,
  { url, credentials }: Partial<NodeAddress> & { url: string },
  path: string,
  msMax: number,
): Promise<T> {
  const signal = msMax === NO_LIMIT ? undefined : AbortSignal.timeout(msMax);
  return readJson<T>(await openRequest(method, url, path, { signal, credentials }), url);
}

interface RequestOptions {
  readonly body?: Readable;
  readonly signal?: AbortSignal;
  /** For what is not for everybody. */
  readonly credentials?: NodeAddress['credentials'];
}

/** An answer of which the body is yet to be read. Throws NODE_UNREACHABLE, or what the node answered. */
export async function openRequest(
  method: Method,
  url: string,
  path: string,
  { body, signal, credentials }: RequestOptions = {},
): Promise<http.IncomingMessage> {
  const shown = credentials?.();
  let answer: http.IncomingMessage;
  try {
    answer = await send(method, new URL(path, url), shown, { body, signal });
  } catch (error) {
    throw unreachable(url, error);
  }
  const status = answer.statusCode ?? 0;
  if (status >= 200 && status < 300) return answer;
  const { code, message, hint } = await readJson<ErrorReport>(answer, url);
  // The node's hint is for who writes requests.
  const own = code === 'UNAUTHORIZED' && shown ? shown.hint() : hint;
  throw new LiteFsError(codeOf(code), `${url}: ${message}`, { hint: own });
}

/** What a code of the HTTP port means for a command: most are ours, some are of HTTP alone. */
function codeOf(code: string): ErrorCode {
  if (Object.hasOwn(ERROR_CODES, code)) return code as ErrorCode;
  return HTTP_CODES.get(code) ?? 'WRONG_STATE';
}

const HTTP_CODES: ReadonlyMap<string, ErrorCode> = new Map([
  ['UNAUTHORIZED', 'PEER_REJECTED'],
  ['FORBIDDEN', 'PEER_REJECTED'],
  ['NOT_FOUND', 'DATABASE_NOT_FOUND'],
]);

/** The body of an answer. Throws NODE_UNREACHABLE when it is not all there, or no node's. */
export async function readJson<T>(answer: http.IncomingMessage, url: string): Promise<T> {
  let body: string;
  try {
    body = await text(answer);
  } catch (error) {
    throw unreachable(url, error);
  }
  try {
    return JSON.parse(body) as T;
  } catch (error) {
    throw new LiteFsError('NODE_UNREACHABLE', `what answers at ${url} is no litefs-lite node`, {
      hint: 'Name its http.addr: --url http://HOST:20202, or --config FILE',
      cause: error,
    });
  }
}

async function send(
  method: Method,
  target: URL,
  credentials: Credentials | undefined,
  { body, signal }: Pick<RequestOptions, 'body' | 'signal'>,
): Promise<http.IncomingMessage> {
  // It may fail while we connect.
  body?.on('error', () => {});
  // A connection of its own: one that was kept may be closed by the node just then.
  const socket = await connect(target, signal).catch((error) => {
    body?.destroy();
    throw error;
  });
  const token = credentials?.tokenFor(socket);
  // Node writes headers as latin1.
  const bytes = Buffer.from(`Bearer ${token}`).toString('latin1');
  const headers = token === undefined ? {} : { authorization: bytes };
  const { request } = target.protocol === 'https:' ? https : http;
  const createConnection = () => socket;
  return new Promise((resolve, reject) => {
    const sent = request(target, { method, headers, signal, createConnection }, resolve);
    sent.on('error', (error) => reject(body?.errored ?? error));
    // An error of either ends both.
    if (body) pipeline(body, sent, () => {});
    else sent.end();
  });
}

/** Connects, so that who listens is known before anything is shown. Throws the system's errors. */
async function connect(target: URL, signal: AbortSignal | undefined): Promise<net.Socket> {
  const isEncrypted = target.protocol === 'https:';
  const host = target.hostname.replace(/^\[|\]$/g, '');
  const port = Number(target.port) || (isEncrypted ? 443 : 80);
  const socket = isEncrypted
    ? tls.connect({ host, port, servername: net.isIP(host) ? undefined : host })
    : net.connect({ host, port });
  try {
    await once(socket, isEncrypted ? 'secureConnect' : 'connect', { signal });
  } catch (error) {
    socket.destroy();
    throw error;
  }
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  return socket;
}

function unreachable(url: string, error: unknown): LiteFsError {
  const isLate = error instanceof Error && error.name === 'AbortError';
  // Of several addresses that refuse there is only a code.
  const said = errorText(error) || (error as NodeJS.ErrnoException).code;
  const why = isLate ? 'it takes too long' : said;
  return new LiteFsError('NODE_UNREACHABLE', `no node answers at ${url}${why ? `: ${why}` : ''}`, {
    hint: 'Is it running (systemctl status litefs-lite)? Another address: --url http://HOST:20202, or --config FILE',
    cause: error,
  });
}
