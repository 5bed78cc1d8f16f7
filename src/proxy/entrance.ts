/** What stands before every decision: whether a request is taken in, whom it is from, and what the next hop is told of that. */
import type http from 'node:http';
import { type AddressRange, plainAddress, TrustedAddresses } from '../os/addresses.ts';
import { type Refusal, refuse } from './decide.ts';
import type { ClientFacts } from './forwarding.ts';
import { FORWARDED_BY, FORWARDED_SEAL, headerValue, requestHeaders } from './headers.ts';
import { faultOf, hasPassed, originForm, type RequestHead } from './intake.ts';
import { forwardingSeal, isSeal } from './seal.ts';
import type { Origin } from './upstream.ts';

export interface EntranceSettings {
  /** The peers whose word on their clients is taken. */
  readonly trusted: readonly AddressRange[];
  /** What nodes of this cluster know, and strangers do not; undefined: nothing. */
  readonly secret: string | undefined;
  /** This node's name in the header Via. */
  readonly pseudonym: string;
  readonly target: Origin;
}

export class Entrance {
  readonly trusted: TrustedAddresses;
  readonly #secret: string | undefined;
  readonly #pseudonym: string;
  readonly #defaultHost: string;

  constructor({ trusted, secret, pseudonym, target }: EntranceSettings) {
    this.trusted = new TrustedAddresses(trusted);
    this.#secret = secret;
    this.#pseudonym = pseudonym;
    const { host, port } = target;
    this.#defaultHost = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  /** Why it is not taken in; undefined when it is. `hostname`: of this node. */
  refusalOf(request: http.IncomingMessage, hostname: string): Refusal | undefined {
    const head = headOf(request);
    const fault = faultOf(head);
    if (fault !== undefined) return refuse(400, `${hostname} does not take this request: ${fault}`);
    if (!hasPassed(head.rawHeaders, this.#pseudonym)) return undefined;
    return refuse(
      508,
      `the request has passed ${hostname} before: proxy.target, or a proxy behind it, leads back here`,
    );
  }

  /** The headers for the next hop. `forwardedBy`: this node, when that is the primary's proxy. */
  headersFor(request: http.IncomingMessage, forwardedBy?: string): string[] {
    const { method, target, httpVersion, rawHeaders } = headOf(request);
    const headers = requestHeaders(rawHeaders, this.#clientOf(request), {
      via: { httpVersion, pseudonym: this.#pseudonym },
      host: this.#defaultHost,
      forwardedBy,
    });
    if (forwardedBy !== undefined && this.#secret !== undefined) {
      const head = { method, target: originForm(target) };
      headers.push(FORWARDED_SEAL, forwardingSeal(this.#secret, head, headers));
    }
    return headers;
  }

  #clientOf(request: http.IncomingMessage): ClientFacts {
    const address = plainAddress(request.socket.remoteAddress);
    const isTrusted = this.trusted.has(address) || this.#isOfNode(request);
    return { address, host: request.headers.host, isTrusted };
  }

  /** Whether another node of this cluster has sent it, as it is. */
  #isOfNode(request: http.IncomingMessage): boolean {
    if (this.#secret === undefined || request.headers[FORWARDED_BY] === undefined) return false;
    const { method, target, rawHeaders } = headOf(request);
    const given = headerValue(rawHeaders, FORWARDED_SEAL);
    return (
      given !== undefined &&
      isSeal(given, forwardingSeal(this.#secret, { method, target }, rawHeaders))
    );
  }
}

export function headOf(request: http.IncomingMessage): RequestHead {
  const { method = 'GET', url: target = '/', httpVersion, rawHeaders } = request;
  return { method, target, httpVersion, rawHeaders };
}
