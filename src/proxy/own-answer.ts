/** Answers of the proxy's own, the same to a request and to one that wants another protocol. */
import { errorText } from '../errors.ts';
import { type Refusal, refuse } from './decide.ts';
import { Crowded, type Origin, Unreached } from './upstream.ts';

/** Ways that end here: where the request goes is decided, and that is no other node and no application. */
export interface OwnAnswer {
  readonly status: number;
  /** Flat: name, value, name, value. */
  readonly headers: readonly string[];
  readonly text: string;
}

export function ofRefusal({ status, reason }: Refusal): OwnAnswer {
  const headers = status === 503 ? ['Retry-After', '1'] : [];
  return { status, headers, text: `${reason}\n` };
}

export function ofRedirect(location: string): OwnAnswer {
  return { status: 307, headers: ['Location', location], text: '' };
}

export function ofFlyReplay(instance: string): OwnAnswer {
  return { status: 409, headers: ['Fly-Replay', `instance=${instance}`], text: '' };
}

export function ofFailure(error: unknown): OwnAnswer {
  return { status: 500, headers: [], text: `the proxy failed: ${errorText(error)}\n` };
}

/** All headers of it. */
export function headersOf({ headers, text }: OwnAnswer): string[] {
  return [
    'Content-Type',
    'text/plain; charset=utf-8',
    'Content-Length',
    `${Buffer.byteLength(text)}`,
    'Cache-Control',
    'no-store',
    ...headers,
  ];
}

/** The application has not answered, and why. */
export function silentTarget({ host, port }: Origin, error: unknown): Refusal {
  if (error instanceof Crowded) return crowded();
  return refuse(502, `the application at ${host}:${port} does not answer: ${errorText(error)}`);
}

/** The primary's proxy has not. What never reached it may be asked again. */
export function silentPrimary(url: string, error: unknown): Refusal {
  if (error instanceof Crowded) return crowded();
  const text = `the primary's proxy at ${url} does not answer: ${errorText(error)}`;
  return refuse(error instanceof Unreached ? 503 : 502, text);
}

function crowded(): Refusal {
  return refuse(503, 'descriptors are short: this node has too many connections and open files');
}
