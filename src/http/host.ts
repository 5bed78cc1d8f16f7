/**
 * Whether a request over TCP is meant for this node, by its Host. A web page may have its own name lead to an address of
 * ours, and the browser then lets it read what we answer (DNS rebinding); but it sends that name as Host. An IP address
 * cannot be made to lead elsewhere, so any is taken: behind NAT, or a container's published port, we do not know ours.
 */
import type { IncomingMessage } from 'node:http';
import net from 'node:net';
import { HttpFault } from './fault.ts';

const HEALTH = '/healthz';

/**
 * `isOwnName`: of a name in lower case that is neither an address nor localhost. `path`: of the request.
 * @throws HttpFault 400 for several, 421 for one of another node, or none
 */
export function expectOwnHost(
  request: IncomingMessage,
  path: string,
  isOwnName: (name: string) => boolean,
): void {
  const hosts = request.headersDistinct.host ?? [];
  if (hosts.length > 1) throw new HttpFault(400, 'MALFORMED', 'the request has several Hosts');
  // Health checks of load balancers have none, and are HTTP/1.0. A browser always sends one.
  if (hosts.length === 0 && path === HEALTH) return;
  const name = hostName(hosts[0] ?? '');
  if (name !== undefined && (isAddress(name) || name === 'localhost' || isOwnName(name))) return;
  const message =
    hosts.length === 0
      ? 'the request does not say which host it is meant for'
      : `this node is not known as ${JSON.stringify(hosts[0])}`;
  throw new HttpFault(421, 'MISDIRECTED', message, {
    hint: 'Ask by an address or the name of the machine; or add the name to http.hosts in the config of the node.',
  });
}

/** The name in `name:port`, in lower case, of an IPv6 address without brackets; undefined when it is none. */
export function hostName(host: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^\s:/\\@[\]]+))(?::\d{0,5})?$/i.exec(host);
  return (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, '');
}

function isAddress(name: string): boolean {
  return net.isIP(name) !== 0;
}
