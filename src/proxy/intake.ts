/**
 * Which requests are taken in at all. What two programs can read in two ways is refused: the proxy would decide on one reading,
 * and the application answer the other. node:http has refused what it cannot parse before.
 */
import type { HeaderList } from './headers.ts';

export interface RequestHead {
  readonly method: string;
  /** The request target. */
  readonly target: string;
  /** "1.0" or "1.1". */
  readonly httpVersion: string;
  readonly rawHeaders: HeaderList;
}

/** A name or an address, and a port; nothing of a URL beside them. */
const AUTHORITY = /^(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?$/;
const ABSOLUTE = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)/;
const DEFAULT_PORTS: Record<string, string> = { http: '80', https: '443' };

/** Why a request is refused with 400, in plain words; undefined when it is taken. */
export function faultOf({ target, httpVersion, rawHeaders }: RequestHead): string | undefined {
  const hosts: string[] = [];
  const codings: string[] = [];
  let hasLength = false;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    // By length first: most headers are none of these.
    if (name.length === 4 && name.toLowerCase() === 'host') hosts.push(rawHeaders[i + 1]);
    else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      codings.push(rawHeaders[i + 1]);
    } else if (name.length === 14 && name.toLowerCase() === 'content-length') hasLength = true;
  }
  if (hosts.length > 1) return 'it has more than one Host';
  if (hosts.length === 0 && httpVersion !== '1.0') return 'it has no Host';
  const [host] = hosts;
  if (host !== undefined && !AUTHORITY.test(host)) return 'its Host is none';
  if (codings.length > 0) {
    if (httpVersion === '1.0') return 'HTTP/1.0 knows no Transfer-Encoding';
    if (hasLength) return 'it has both Transfer-Encoding and Content-Length';
    if (codings.length > 1 || codings[0].toLowerCase() !== 'chunked') {
      return 'its Transfer-Encoding is not chunked';
    }
  }
  return faultOfTarget(target, host);
}

function faultOfTarget(target: string, host: string | undefined): string | undefined {
  if (target.startsWith('/') || target === '*') return undefined;
  const [, scheme, authority] = ABSOLUTE.exec(target) ?? [];
  if (scheme === undefined) return 'its target is neither a path nor a URL';
  const port = DEFAULT_PORTS[scheme.toLowerCase()];
  if (port === undefined) return 'its target is not a URL of http';
  if (authority === '' || !AUTHORITY.test(authority)) return 'its target has no host';
  const isSame = host === undefined || withPort(authority, port) === withPort(host, port);
  return isSame ? undefined : 'its target has another host than its Host';
}

function withPort(authority: string, defaultPort: string): string {
  const [, name, port] = /^(.*?)(?::([0-9]*))?$/.exec(authority) ?? [];
  const isBare = port === undefined || port === '' || authority.endsWith(']');
  return isBare
    ? `${authority.replace(/:$/, '').toLowerCase()}:${defaultPort}`
    : `${name.toLowerCase()}:${Number(port)}`;
}

/** The target as servers of their own have it: a path and its query, or `*`. */
export function originForm(target: string): string {
  if (target.startsWith('/')) return target;
  const origin = ABSOLUTE.exec(target)?.[0];
  if (origin === undefined) return target;
  const rest = target.slice(origin.length);
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** Whether a request has passed a proxy of this name before: Via has a list of them. */
export function hasPassed(rawHeaders: HeaderList, pseudonym: string): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i].length !== 3 || rawHeaders[i].toLowerCase() !== 'via') continue;
    const names = rawHeaders[i + 1].split(',').map((hop) => hop.trim().split(/\s+/)[1]);
    if (names.includes(pseudonym)) return true;
  }
  return false;
}
