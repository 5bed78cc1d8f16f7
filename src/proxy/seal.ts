/**
 * What a node can make and a stranger cannot: HMAC-SHA-256 over text with a label of what it is for.
 *
 * Between the proxies of two nodes it covers what a request says of its client: a replica has spoken with the client, and the
 * primary has to know it. An address does not show that it is a node's: other programs run there, and behind a router all
 * have one. Without replication.secret there is nothing that a stranger does not know, and no seal.
 *
 * On the cookie it shows that a proxy of this cluster has set it. There the key may be the id of the cluster: who learns it and
 * makes cookies has his own reads wait, no others.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { isForwarding } from './forwarding.ts';
import type { HeaderList } from './headers.ts';

/** 128 bits, as base64url. */
export const SEAL_CHARS = 22;

/** The seal of what a request says of its client: of all such headers, of its host, and of what is asked. */
export function forwardingSeal(
  secret: string,
  head: { readonly method: string; readonly target: string },
  headers: HeaderList,
): string {
  const said: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const key = headers[i].toLowerCase();
    if (key === 'host' || key === 'litefs-forwarded-by' || isForwarding(key)) {
      said.push(`${key}: ${headers[i + 1]}`);
    }
  }
  // Names of one kind keep their order; which kind comes first may change on the way.
  said.sort((a, b) => compare(a.slice(0, a.indexOf(':')), b.slice(0, b.indexOf(':'))));
  return seal(secret, 'forwarding', [head.method, head.target, ...said]);
}

/** The seal of a cookie's text. */
export function cookieSeal(
  secret: string | undefined,
  clusterId: string,
  parts: readonly string[],
): string {
  return seal(secret ?? clusterId, 'cookie', [clusterId, ...parts]);
}

/** Compares in constant time. */
export function isSeal(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given, 'latin1'), Buffer.from(wanted, 'latin1')];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Neither a header nor a target has a line end in it, so lines are told apart. */
function seal(key: string, label: string, lines: readonly string[]): string {
  return createHmac('sha256', key)
    .update(`litefs-lite proxy ${label}\n${lines.join('\n')}`, 'utf8')
    .digest('base64url')
    .slice(0, SEAL_CHARS);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
