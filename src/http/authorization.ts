/**
 * Who may have done what not everybody may. Over TCP: who shows the node's secret as a bearer token. From where such a
 * request comes says nothing: all users of this machine, browsers, and proxies that pass strangers on connect from
 * loopback. Over the node's socket: root, the daemon's own user, and members of its group, by what the kernel says of the
 * process that has connected.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Peer } from '../os/peer.ts';
import type { Caller } from './caller.ts';
import { HttpFault } from './fault.ts';

export interface Admission {
  /** undefined: over TCP nothing is done that is not for everybody. */
  readonly secret: string | undefined;
  /** The user that the daemon runs as. */
  readonly uid: number;
  /** undefined: this machine has no such group. */
  readonly gid: number | undefined;
}

/** Whose members may do over the socket what root may. The package makes it. */
export const GROUP = 'litefs-lite';
const ROOT = 0;

const HINT =
  `As root on that machine (or in its group ${GROUP}) the commands of litefs-lite do it. From elsewhere: set ` +
  'replication.secret on the node, and send "Authorization: Bearer <replication.secret>".';

/** Throws HttpFault 401 or 403. */
export function authorize(request: IncomingMessage, caller: Caller, admission: Admission): void {
  if (caller.kind === 'tcp') showsSecret(request, admission.secret);
  else if (!caller.peer || !isTrusted(caller.peer, admission)) {
    const who = caller.peer ? `user ${caller.peer.uid}` : 'a user that the kernel does not name';
    throw new HttpFault(403, 'FORBIDDEN', `this is not for ${who}`, { hint: HINT });
  }
}

function isTrusted({ uid, groups }: Peer, admission: Admission): boolean {
  if (uid === ROOT || uid === admission.uid) return true;
  return admission.gid !== undefined && groups.includes(admission.gid);
}

function showsSecret(request: IncomingMessage, secret: string | undefined): void {
  const token = bearerToken(request.headers.authorization);
  if (token !== undefined && secret !== undefined && isSame(token, secret)) return;
  const message =
    token === undefined
      ? 'this needs the secret of the node'
      : 'what was sent is not the secret of the node';
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
