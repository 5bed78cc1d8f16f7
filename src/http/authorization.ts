/**
 * Who may have done what not everybody may. Over TCP: who shows the node's secret as a bearer token. From where such a
 * request comes says nothing: all users of this machine, browsers, and proxies that pass strangers on connect from
 * loopback. So it is with the status of a node that has a token for it, which opens nothing else. Over the node's socket: root,
 * the daemon's own user, and members of its group, by what the kernel says of the process that has connected.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Peer } from '../os/peer.ts';
import type { Caller } from './caller.ts';
import { HttpFault } from './fault.ts';

export interface Admission {
  /** undefined: over TCP nothing is done that is not for everybody. */
  readonly secret: string | undefined;
  /** What shows the status over TCP, as the secret does; undefined: whoever reaches the port reads it. */
  readonly statusToken: string | undefined;
  /** The user that the daemon runs as. */
  readonly uid: number;
  /** undefined: this machine has no such group. */
  readonly gid: number | undefined;
}

/** Whose members may do over the socket what root may. The package makes it. */
export const GROUP = 'litefs-lite';
const ROOT = 0;

const SECRET = {
  name: 'the secret',
  hint:
    `As root on that machine (or in its group ${GROUP}) the commands of litefs-lite do it. From elsewhere: set ` +
    'replication.secret on the node, and send "Authorization: Bearer <replication.secret>".',
};

const STATUS = {
  name: 'the token for the status',
  hint:
    'Send "Authorization: Bearer <http.status-token>". As root on that machine ' +
    `(or in its group ${GROUP}) the commands of litefs-lite need none.`,
};

/** For what is not for everybody. Throws HttpFault 401 or 403. */
export function authorize(request: IncomingMessage, caller: Caller, admission: Admission): void {
  const refusal =
    caller.kind === 'local'
      ? distrust(caller, admission)
      : tokenRefusal(request, [admission.secret], SECRET);
  if (refusal) throw refusal;
}

/** Why the status is not for who asks: 401 or 403. undefined: it is, as for everybody until the node has a token for it. */
export function statusRefusal(
  request: IncomingMessage,
  caller: Caller,
  admission: Admission,
): HttpFault | undefined {
  const { statusToken, secret } = admission;
  if (statusToken === undefined) return undefined;
  return caller.kind === 'local'
    ? distrust(caller, admission)
    : tokenRefusal(request, [statusToken, secret], STATUS);
}

function distrust({ peer }: Caller & { kind: 'local' }, admission: Admission) {
  if (peer && isTrusted(peer, admission)) return undefined;
  const who = peer ? `user ${peer.uid}` : 'a user that the kernel does not name';
  return new HttpFault(403, 'FORBIDDEN', `this is not for ${who}`, { hint: SECRET.hint });
}

function isTrusted({ uid, groups }: Peer, admission: Admission): boolean {
  if (uid === ROOT || uid === admission.uid) return true;
  return admission.gid !== undefined && groups.includes(admission.gid);
}

/** `accepted`: any of them is taken. */
function tokenRefusal(
  request: IncomingMessage,
  accepted: readonly (string | undefined)[],
  { name, hint }: { readonly name: string; readonly hint: string },
): HttpFault | undefined {
  const token = bearerToken(request.headers.authorization);
  const isAccepted = (one: string | undefined) =>
    token !== undefined && one !== undefined && isSame(token, one);
  if (accepted.some(isAccepted)) return undefined;
  const message =
    token === undefined
      ? `this needs ${name} of the node`
      : `what was sent is not ${name} of the node`;
  return new HttpFault(401, 'UNAUTHORIZED', message, {
    hint,
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
