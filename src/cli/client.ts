/**
 * Asking a running node over HTTP. What changes something, or gets what databases hold, carries the secret in
 * $LITEFS_SECRET, if that is set. By node:http: fetch gives up when no answer has begun after 300 s, and a snapshot may
 * take longer.
 */
import http from 'node:http';
import https from 'node:https';
import { pipeline, type Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { ERROR_CODES, type ErrorCode, errorText, LiteFsError } from '../errors.ts';
import type { ErrorReport } from '../http/info.ts';

const TIMEOUT_MS = 10 * 60_000;
/** For what takes as long as it takes: a node that has gone is noticed by its connection. */
export const NO_LIMIT = Number.POSITIVE_INFINITY;
/** How long a connection is silent before it is tested. */
const KEEP_ALIVE_MS = 30_000;

/** The JSON at a path. `msMax`: for all of the answer. Throws NODE_UNREACHABLE, or what the node answered. */
export function getJson<T>(url: string, path: string, msMax = TIMEOUT_MS): Promise<T> {
  return ask<T>('GET', url, path, msMax);
}

/** The same for what changes something. */
export function postJson<T>(url: string, path: string, msMax = TIMEOUT_MS): Promise<T> {
  return ask<T>('POST', url, path, msMax);
}

/** The same for what takes something back. */
export function deleteJson<T>(url: string, path: string): Promise<T> {
  return ask<T>('DELETE', url, path, TIMEOUT_MS);
}

type Method = 'GET' | 'POST' | 'DELETE';

async function ask<T>(method: Method, url: string, path: string, msMax: number): Promise<T> {
  const signal = msMax === NO_LIMIT ? undefined : AbortSignal.timeout(msMax);
  return readJson<T>(await openRequest(method, url, path, { signal }), url);
}

interface RequestOptions {
  readonly body?: Readable;
  readonly signal?: AbortSignal;
  /** Whether it carries the secret; by default when it is no GET. */
  readonly secret?: boolean;
}

/** An answer of which the body is yet to be read. Throws NODE_UNREACHABLE, or what the node answered. */
export async function openRequest(
  method: Method,
  url: string,
  path: string,
  { body, signal, secret = method !== 'GET' }: RequestOptions = {},
): Promise<http.IncomingMessage> {
  let answer: http.IncomingMessage;
  try {
    answer = await send(method, new URL(path, url), { body, signal, secret });
  } catch (error) {
    throw unreachable(url, error);
  }
  const status = answer.statusCode ?? 0;
  if (status >= 200 && status < 300) return answer;
  const { code, message, hint } = await readJson<ErrorReport>(answer, url);
  // The node's hint is for who writes requests.
  const own =
    code === 'UNAUTHORIZED' ? "Set LITEFS_SECRET to that node's replication.secret." : hint;
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

function send(
  method: Method,
  target: URL,
  { body, signal, secret }: RequestOptions,
): Promise<http.IncomingMessage> {
  const token = secret ? process.env.LITEFS_SECRET : undefined;
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const { request } = target.protocol === 'https:' ? https : http;
  return new Promise((resolve, reject) => {
    // A connection of its own: one that was kept may be closed by the node just then.
    const sent = request(target, { method, headers, signal, agent: false }, resolve);
    sent.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
    sent.on('error', reject);
    if (body) {
      body.on('error', reject);
      // An error of either ends both, and is told of by them.
      pipeline(body, sent, () => {});
    } else {
      sent.end();
    }
  });
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
