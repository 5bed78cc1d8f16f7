/**
 * Who may have done what not everybody may: who shows a secret of the node as a bearer token. From where a request comes
 * says nothing: all users of this machine, browsers, and proxies that pass strangers on connect from loopback.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { HttpFault } from './fault.ts';

const HINT =
  'As root on that machine the commands of litefs-lite do it. From elsewhere: set replication.secret on the node, and ' +
  'send "Authorization: Bearer <replication.secret>".';

/** Throws HttpFault 401 when the request does not show one of the secrets. */
export function authorize(request: IncomingMessage, secrets: readonly string[]): void {
  const token = bearerToken(request.headers.authorization);
  // Each is compared: the time tells nothing of which it was.
  const matching = secrets.filter((secret) => token !== undefined && isSame(token, secret));
  if (matching.length > 0) return;
  const message =
    token === undefined
      ? 'this needs a secret of the node'
      : 'what was sent is no secret of the node';
  throw new HttpFault(401, 'UNAUTHORIZED', message, {
    hint: HINT,
    headers: { 'www-authenticate': 'Bearer realm="litefs-lite"' },
  });
}

function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S.*)$/i.exec(header ?? '')?.[1];
}

/** In constant time, whatever the lengths. `token`: bytes, as Node has headers; they are UTF-8. */
function isSame(token: string, secret: string): boolean {
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest();
  return timingSafeEqual(digest(Buffer.from(token, 'latin1')), digest(Buffer.from(secret, 'utf8')));
}
