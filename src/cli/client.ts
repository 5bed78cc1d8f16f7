/**
 * Asking a running node over HTTP: one of this machine at its socket, another at its URL. What is not for everybody is asked
 * for at a URL only with a secret to show. By node:http: fetch gives up when no answer has begun after 300 s, and a snapshot
 * may take longer.
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
import type { NodeAddress } from './node-url.ts';
import { refusedHere, refusedThere } from './refused.ts';

const TIMEOUT_MS = 10 * 60_000;
/** For what takes as long as it takes: a node that has gone is noticed by its connection. */
export const NO_LIMIT = Number.POSITIVE_INFINITY;
/** How long a connection is silent before it is tested. */
const KEEP_ALIVE_MS = 30_000;

/** The JSON at a path. `msMax`: for all of the answer. Throws NODE_UNREACHABLE, or what the node answered. */
export function getJson<T>(node: NodeAddress, path: string, msMax = TIMEOUT_MS): Promise<T> {
  return ask<T>('GET', node, path, msMax, false);
}

/** The same for what is not for everybody. Throws PEER_REJECTED as well, as those below do. */
export function getGuardedJson<T>(node: NodeAddress, path: string, msMax: number): Promise<T> {
  return ask<T>('GET', node, path, msMax, true);
}

/** The same for what changes something. */
export function postJson<T>(node: NodeAddress, path: string, msMax = TIMEOUT_MS): Promise<T> {
  return ask<T>('POST', node, path, msMax, true);
}

/** The same for what takes something back. */
export function deleteJson<T>(node: NodeAddress, path: string): Promise<T> {
  return ask<T>('DELETE', node, path, TIMEOUT_MS, true);
}

type Method = 'GET' | 'POST' | 'DELETE';

async function ask<T>(
  method: Method,
  node: NodeAddress,
  path: string,
  msMax: number,
  isGuarded: boolean,
): Promise<T> {
  const signal = msMax === NO_LIMIT ? undefined : AbortSignal.timeout(msMax);
  return readJson<T>(await openRequest(method, node, path, { signal, isGuarded }), node.url);
}

/** What may be needed for it: nothing, what shows the status, or the secret. */
type Access = 'open' | 'status' | 'guarded';

interface RequestOptions {
  readonly body?: Readable;
  readonly signal?: AbortSignal;
  /** Whether it is not for everybody. */
  readonly isGuarded?: boolean;
}

/** An answer of which the body is yet to be read. Throws NODE_UNREACHABLE, PEER_REJECTED, or what the node answered. */
export async function openRequest(
  method: Method,
  node: NodeAddress,
  path: string,
  options: RequestOptions = {},
): Promise<http.IncomingMessage> {
  const { url } = node;
  let answer: http.IncomingMessage;
  try {
    const { isGuarded = false } = options;
    answer = await send(method, node, path, options, isGuarded ? 'guarded' : 'open');
    // What shows the status is sent only to a node that asks for it.
    if (answer.statusCode === 401 && !isGuarded) {
      answer.destroy();
      answer = await send(method, node, path, options, 'status');
    }
  } catch (error) {
    throw error instanceof LiteFsError ? error : unreachable(url, error);
  }
  const status = answer.statusCode ?? 0;
  if (status >= 200 && status < 300) return answer;
  const { code, message, hint } = await readJson<ErrorReport>(answer, url);
  // The node's hint is for who writes requests.
  const own =
    code === 'UNAUTHORIZED' || code === 'FORBIDDEN'
      ? refusedThere(code, options.isGuarded ?? false)
      : hint;
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
  node: NodeAddress,
  path: string,
  { body, signal }: RequestOptions,
  access: Access,
): Promise<http.IncomingMessage> {
  // It may fail while we connect.
  body?.on('error', () => {});
  const target = new URL(path, node.url);
  // A connection of its own: one that was kept may be closed by the node just then.
  const { socket, token } = await reach(node, target, access, signal).catch((error) => {
    body?.destroy();
    throw error;
  });
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

/**
 * A connection, and what to show over it. A node of this machine that is not at its socket is asked at its URL. There, what
 * is not for everybody is not asked for without a secret: any user may listen at that port while the node is down, and would
 * get the body. Throws PEER_REJECTED, CONFIG, and the system's errors.
 */
async function reach(
  node: NodeAddress,
  target: URL,
  access: Access,
  signal: AbortSignal | undefined,
): Promise<{ socket: net.Socket; token?: string }> {
  // What is for everybody is asked for where the user says.
  const file = access !== 'open' || !node.isNamed ? node.socket() : undefined;
  let missed: NodeJS.ErrnoException | undefined;
  if (file !== undefined) {
    try {
      return { socket: await opened(net.connect(file), 'connect', signal) };
    } catch (error) {
      if (signal?.aborted) throw error;
      missed = error as NodeJS.ErrnoException;
    }
  }
  const socket = await connect(target, signal);
  if (access === 'open') return { socket };
  if (access === 'status') return { socket, token: node.statusToken };
  if (node.secret !== undefined) return { socket, token: node.secret };
  socket.destroy();
  throw refusedHere(node.url, file, missed?.code);
}

/** Throws the system's errors. */
function connect(target: URL, signal: AbortSignal | undefined): Promise<net.Socket> {
  const isEncrypted = target.protocol === 'https:';
  const host = target.hostname.replace(/^\[|\]$/g, '');
  const port = Number(target.port) || (isEncrypted ? 443 : 80);
  if (!isEncrypted) return opened(net.connect({ host, port }), 'connect', signal);
  const servername = net.isIP(host) ? undefined : host;
  return opened(tls.connect({ host, port, servername }), 'secureConnect', signal);
}

async function opened(
  socket: net.Socket,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal | undefined,
): Promise<net.Socket> {
  try {
    await once(socket, event, { signal });
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
