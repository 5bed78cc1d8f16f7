/** Asking a running node over HTTP. What changes something carries the secret in $LITEFS_SECRET, if that is set. */
import type { Readable } from 'node:stream';
import { LiteFsError } from '../errors.ts';
import type { ErrorReport } from '../http/info.ts';

const TIMEOUT_MS = 10 * 60_000;

/** The JSON at a path. Throws NODE_UNREACHABLE, or what the node answered. */
export function getJson<T>(url: string, path: string): Promise<T> {
  return ask<T>('GET', url, path);
}

/** The same for what changes something. */
export function postJson<T>(url: string, path: string): Promise<T> {
  return ask<T>('POST', url, path);
}

/** The same for what takes something back. */
export function deleteJson<T>(url: string, path: string): Promise<T> {
  return ask<T>('DELETE', url, path);
}

type Method = 'GET' | 'POST' | 'DELETE';

async function ask<T>(method: Method, url: string, path: string): Promise<T> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const response = await openRequest(method, url, path, undefined, signal);
  return (await response.json()) as T;
}

/** An answer of which the body is yet to be read. Throws NODE_UNREACHABLE, or what the node answered. */
export async function openRequest(
  method: Method,
  url: string,
  path: string,
  body?: Readable,
  signal?: AbortSignal,
): Promise<Response> {
  const secret = process.env.LITEFS_SECRET;
  const headers: Record<string, string> =
    method !== 'GET' && secret ? { authorization: `Bearer ${secret}` } : {};
  const streamed = body && ({ body, duplex: 'half' } as unknown as RequestInit);
  let response: Response;
  try {
    response = await fetch(new URL(path, url), { method, headers, signal, ...streamed });
  } catch (error) {
    const cause = (error as Error).cause;
    const why =
      cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code : '';
    throw new LiteFsError('NODE_UNREACHABLE', `no node answers at ${url}${why ? `: ${why}` : ''}`, {
      hint: 'Is it running (systemctl status litefs-lite)? Another address: --url http://HOST:20202',
      cause: error,
    });
  }
  if (response.ok) return response;
  const report = (await response.json()) as ErrorReport;
  throw new LiteFsError('WRONG_STATE', `${url}: ${report.message}`, { hint: report.hint });
}
