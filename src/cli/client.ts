/** Asking a running node over HTTP. */
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

async function ask<T>(method: string, url: string, path: string): Promise<T> {
  let response: Response;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    response = await fetch(new URL(path, url), { method, signal });
  } catch (error) {
    const cause = (error as Error).cause;
    const why =
      cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code : '';
    throw new LiteFsError('NODE_UNREACHABLE', `no node answers at ${url}${why ? `: ${why}` : ''}`, {
      hint: 'Is it running (systemctl status litefs-lite)? Another address: --url http://HOST:20202',
      cause: error,
    });
  }
  const body = (await response.json()) as T | ErrorReport;
  if (response.ok) return body as T;
  const report = body as ErrorReport;
  throw new LiteFsError('WRONG_STATE', `${url}: ${report.message}`, { hint: report.hint });
}
