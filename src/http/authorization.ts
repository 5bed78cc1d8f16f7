/**
 * Who may change something, and once there is a secret, who is given what databases hold: whoever shows it as a bearer
 * token, and programs on this machine.
 *
 * A browser on this machine, or a proxy that passes strangers on, connects from loopback as well: a page of any
 * web site can send a POST to localhost. Both say so in their headers, and need the token.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import net from 'node:net';
import { HttpFault } from './fault.ts';

const loopback = new net.BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Headers of requests that somebody else made through a program on this machine. */
const ON_BEHALF = ['origin', 'sec-fetch-site', 'forwarded', 'x-forwarded-for', 'x-real-ip', 'via'];

/** What a route does that not everybody may ask for. */
export type Deed = 'changes' | 'hands out';

export interface Access {
  /** The shared secret. Without one only programs on this machine may change anything, and everybody may read. */
  readonly secret: string | undefined;
  /** By which names this node is asked, beside localhost and IP addresses. */
  readonly names: readonly string[];
}

/** Throws HttpFault 401 or 403 when the request may not change anything, or be given what databases hold. */
export function authorize(request: IncomingMessage, deed: Deed, access: Access): void {
  const { secret } = access;
  const token = bearerToken(request.headers.authorization);
  if (token !== undefined && secret !== undefined && isSame(token, secret)) return;
  const isForAll = deed === 'hands out' && secret === undefined;
  // Without a secret there is nothing that a token could be wrong about: it is that of other nodes, in the environment.
  const showsNone = token === undefined || secret === undefined;
  if (isForAll || (showsNone && isFromHere(request))) {
    if (isNamed(request.headers.host, access.names)) return;
    throw new HttpFault(403, 'FORBIDDEN', 'the request is for another host than this node', {
      hint: 'Ask by an IP address, localhost, lease.hostname or the host of lease.advertise-url; or send replication.secret.',
    });
  }
  if (secret === undefined) {
    throw new HttpFault(403, 'FORBIDDEN', 'only programs on the node itself may do this', {
      hint: 'Set replication.secret on the node, and send it as "Authorization: Bearer <secret>".',
    });
  }
  throw new HttpFault(401, 'UNAUTHORIZED', 'this needs the shared secret', {
    hint: 'Send replication.secret as "Authorization: Bearer <secret>".',
    headers: { 'www-authenticate': 'Bearer realm="litefs-lite"' },
  });
}

/**
 * Whether `Host` names this node. A page of any web site can have its own name lead to this machine, and is then allowed
 * to read what comes from there (DNS rebinding); but its name stays in the header.
 */
function isNamed(host: string | undefined, names: readonly string[]): boolean {
  // Only HTTP/1.0 comes without, and that is no browser.
  if (host === undefined) return true;
  const asked = URL.parse(`http://${host}`)
    ?.hostname.replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
  if (!asked) return false;
  return (
    net.isIP(asked) !== 0 ||
    asked === 'localhost' ||
    names.some((name) => name.toLowerCase() === asked)
  );
}

function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S.*)$/i.exec(header ?? '')?.[1];
}

function isFromHere({ headers, socket }: IncomingMessage): boolean {
  const { remoteAddress } = socket;
  if (!remoteAddress || ON_BEHALF.some((name) => headers[name] !== undefined)) return false;
  return loopback.check(remoteAddress, net.isIPv6(remoteAddress) ? 'ipv6' : 'ipv4');
}

/** In constant time, whatever the lengths. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
