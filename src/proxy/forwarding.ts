/**
 * What a request says of the client that it comes from. Anybody can write such headers, so those of a stranger go, in every
 * spelling that an application might take for them: many read headers as CGI has them, where `X-Forwarded-For`,
 * `X_Forwarded_For` and `x.forwarded.for` are all HTTP_X_FORWARDED_FOR.
 */

export interface ClientFacts {
  /** The address that the request came from. */
  readonly address: string;
  /** undefined in HTTP/1.0 without it. */
  readonly host: string | undefined;
  /** Whether what it says of a client before it is believed. */
  readonly isTrusted: boolean;
}

/** Those that do not begin with `x-forwarded`, as reverse proxies and hosts of applications write them. */
const FORWARDING = new Set([
  'forwarded',
  'forwarded-for',
  'forwarded-host',
  'forwarded-proto',
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'cf-visitor',
  'client-ip',
  'fastly-client-ip',
  'fastly-ssl',
  'fly-client-ip',
  'fly-forwarded-port',
  'fly-forwarded-proto',
  'fly-forwarded-ssl',
  'front-end-https',
  'proxy-client-ip',
  'remote-addr',
  'true-client-ip',
  'wl-proxy-client-ip',
  'wl-proxy-ssl',
  'x-appengine-user-ip',
  'x-appservice-proto',
  'x-arr-ssl',
  'x-azure-clientip',
  'x-azure-socketip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-envoy-external-address',
  'x-envoy-peer-metadata',
  'x-external-url',
  'x-host',
  'x-http-host-override',
  'x-nf-client-connection-ip',
  'x-original-for',
  'x-original-forwarded-for',
  'x-original-host',
  'x-original-proto',
  'x-original-remote-addr',
  'x-original-url',
  'x-originating-ip',
  'x-proxyuser-ip',
  'x-real-ip',
  'x-real-port',
  'x-remote-addr',
  'x-remote-ip',
  'x-rewrite-url',
  'x-scheme',
  'x-script-name',
  'x-server-name',
  'x-server-port',
  'x-ssl',
  'x-url-scheme',
  'x-vercel-forwarded-for',
]);

/** The name as CGI would have it, in lower case and with `-`: names that fold to one are one to some application. */
export function foldedName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-');
}

/** Whether a header says of the client what only a proxy can know. `folded`: see foldedName. */
export function isForwarding(folded: string): boolean {
  return folded.startsWith('x-forwarded') || FORWARDING.has(folded);
}

/** Collects what is said of the client, and adds what is known. */
export class Forwarding {
  readonly #client: ClientFacts;
  readonly #chain: string[] = [];
  readonly #elements: string[] = [];
  readonly #others: string[] = [];
  #host: string | undefined;
  #protocol = 'http';

  constructor(client: ClientFacts) {
    this.#client = client;
    this.#host = client.host;
  }

  /** Takes a header for which isForwarding holds. `key`: its name in lower case. */
  take(key: string, name: string, value: string): void {
    // Under another spelling it is nobody's whom we trust: their proxies write these names as all do.
    if (!this.#client.isTrusted || key !== foldedName(key)) return;
    if (key === 'x-forwarded-for') this.#chain.push(value);
    else if (key === 'forwarded') this.#elements.push(value);
    else if (key === 'x-forwarded-host') this.#host = value;
    else if (key === 'x-forwarded-proto') this.#protocol = value;
    else this.#others.push(name, value);
  }

  /** Flat: name, value, name, value. */
  headers(): string[] {
    const { address } = this.#client;
    const headers = [
      ...this.#others,
      'X-Forwarded-For',
      this.#chain.length === 0 ? address : `${this.#chain.join(', ')}, ${address}`,
    ];
    if (this.#host !== undefined) headers.push('X-Forwarded-Host', this.#host);
    headers.push('X-Forwarded-Proto', this.#protocol);
    if (this.#elements.length > 0) {
      const node = address.includes(':') ? `"[${address}]"` : address;
      headers.push('Forwarded', `${this.#elements.join(', ')}, for=${node}`);
    }
    return headers;
  }
}
