/**
 * What kind of request it is, from its method, its path and the rules of the config:
 *
 *   health        GET or HEAD /litefs/health: answered by the proxy itself
 *   passthrough   a path of `passthrough`: goes to the application untouched
 *   write         any method but GET, HEAD, OPTIONS, TRACE; a path of `always-forward`; a WebSocket
 *                 when those are for the primary
 *   read          the rest
 */
import { textMatcher } from '../patterns.ts';

export type RequestKind = 'health' | 'passthrough' | 'write' | 'read';

export interface RuleSettings {
  /** Patterns of paths: `*` stands for anything, the rest for itself, and all of the path must fit. */
  readonly passthrough: readonly string[];
  readonly alwaysForward: readonly string[];
  /** Where WebSockets are answered. */
  readonly websocket: 'local' | 'primary';
}

export interface RequestFacts {
  readonly method: string;
  /** The request target: a path and its query, or a whole URL. */
  readonly target: string;
  /** What the connection is to become, from the header Upgrade; undefined for a plain request. */
  readonly upgrade: string | undefined;
}

/** What the headers say of a change of protocol, as node:http has them. */
export interface UpgradeHeaders {
  readonly upgrade?: string;
  readonly 'content-length'?: string;
  readonly 'transfer-encoding'?: string;
}

export const HEALTH_PATH = '/litefs/health';

/** Methods that by definition change nothing. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

export class Rules {
  readonly #passthrough: (path: string) => boolean;
  readonly #alwaysForward: (path: string) => boolean;
  readonly #websocket: RuleSettings['websocket'];

  constructor(settings: RuleSettings) {
    this.#passthrough = textMatcher(settings.passthrough);
    this.#alwaysForward = textMatcher(settings.alwaysForward);
    this.#websocket = settings.websocket;
  }

  kindOf({ method, target, upgrade }: RequestFacts): RequestKind {
    const path = pathOf(target);
    if (path === HEALTH_PATH && (method === 'GET' || method === 'HEAD')) return 'health';
    if (this.#passthrough(path)) return 'passthrough';
    if (!SAFE_METHODS.has(method) || this.#alwaysForward(path)) return 'write';
    const isWebSocket = upgrade !== undefined && upgrade.toLowerCase() === 'websocket';
    return isWebSocket && this.#websocket === 'primary' ? 'write' : 'read';
  }
}

/** Offers to go on with another HTTP, or inside TLS: nobody has to take them. */
const HTTP_OFFER = /^(?:h2c?|http|tls)(?:\/|$)/i;

/**
 * Whether the connection is to become something else after this request. One with a body is no such request, whatever it
 * offers: its body comes first.
 */
export function isUpgrade(headers: UpgradeHeaders): boolean {
  const { upgrade = '', 'content-length': length = '0' } = headers;
  if (headers['transfer-encoding'] !== undefined || Number(length) > 0) return false;
  const protocols = upgrade.split(',').map((protocol) => protocol.trim());
  return protocols.some((protocol) => protocol !== '' && !HTTP_OFFER.test(protocol));
}

/** Whether sending such a request again does what sending it once does. What is forwarded as a write may be one. */
export function isRepeatable(kind: RequestKind, method: string): boolean {
  return kind !== 'write' && SAFE_METHODS.has(method);
}

/**
 * The path that an application sees: without query, host and percent signs. `/%61dmin` is `/admin` to the
 * application, so it has to be to the rules.
 */
export function pathOf(target: string): string {
  const origin = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(target)?.[0] ?? '';
  const path = target.slice(origin.length).replace(/[?#].*$/s, '') || '/';
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
