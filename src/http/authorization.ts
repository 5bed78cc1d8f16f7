/**
 * Who may change something: whoever shows the shared secret as a bearer token, and programs on this machine.
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

/** Throws HttpFault 401 or 403 when the request may not change anything. */
export function authorize(request: IncomingMessage, secret: string | undefined): void {
  const token = bearerToken(request.headers.authorization);
  if (token === undefined && isFromHere(request)) return;
  if (secret === undefined) {
    throw new HttpFault(403, 'FORBIDDEN', 'only programs on the node itself may do this', {
      hint: 'Set replication.secret on the node, and send it as "Authorization: Bearer <secret>".',
    });
  }
  if (token !== undefined && isSame(token, secret)) return;
  throw new HttpFault(401, 'UNAUTHORIZED', 'this needs the shared secret', {
    hint: 'Send replication.secret as "Authorization: Bearer <secret>".',
    headers: { 'www-authenticate': 'Bearer realm="litefs-lite"' },
  });
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
