/**
 * Headers on their way through the proxy. They are flat lists, name after value after name, as node:http has them
 * raw: order, case and repetition survive.
 */

import { type ClientFacts, Forwarding, foldedName, isForwarding } from './forwarding.ts';

export type HeaderList = readonly string[];

/** Of one connection, not of the message: RFC 9110, 7.6.1. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** A header Connection that names one of these is an attack on the next hop: they are kept. */
const NEVER_HOP_BY_HOP = new Set(['host', 'content-length', 'cookie', 'authorization']);

/** Says that a request has been forwarded by a replica once already, and by which. */
export const FORWARDED_BY = 'litefs-forwarded-by';
/** Beside it: shows that it is true, and that what it says of the client is. See seal.ts. */
export const FORWARDED_SEAL = 'litefs-forwarded-seal';
const OURS = /^litefs-/;

/** The next hop, and what it has to be told. */
export interface Hop {
  /** As the request came, "1.0" or "1.1", and this node's name in Via. */
  readonly via: { readonly httpVersion: string; readonly pseudonym: string };
  /** For requests that have none. */
  readonly host: string;
  /** This node, when the next hop is the primary's proxy. */
  readonly forwardedBy: string | undefined;
}

/** The request's headers for the next hop. Its framing is the caller's: content-length stays, transfer-encoding goes. */
export function requestHeaders(raw: HeaderList, client: ClientFacts, hop: Hop): string[] {
  const headers: string[] = client.host === undefined ? ['Host', hop.host] : [];
  const forwarding = new Forwarding(client);
  const via: string[] = [];
  for (const [name, value] of endToEnd(raw)) {
    switch (kindOf(name)) {
      case 'plain':
        headers.push(name, value);
        break;
      case 'forwarding':
        forwarding.take(name.toLowerCase(), name, value);
        break;
      case 'via':
        via.push(value);
    }
  }
  if (wantsTrailers(raw)) headers.push('TE', 'trailers');
  headers.push(...forwarding.headers());
  headers.push('Via', [...via, `${hop.via.httpVersion} ${hop.via.pseudonym}`].join(', '));
  if (hop.forwardedBy !== undefined) headers.push(FORWARDED_BY, hop.forwardedBy);
  return headers;
}

/** Of what TE asks for, trailers are all that goes through. */
function wantsTrailers(raw: HeaderList): boolean {
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i].length !== 2 || raw[i].toLowerCase() !== 'te') continue;
    if (tokens(raw[i + 1]).includes('trailers')) return true;
  }
  return false;
}

type HeaderKind = 'plain' | 'forwarding' | 'via' | 'none';

/** The names that came lately: clients send the same ones again and again. */
const kinds = new Map<string, HeaderKind>();
const KINDS_MAX = 1000;
const KNOWN_NAME_CHARS_MAX = 64;

/** What becomes of a header of a request. */
function kindOf(name: string): HeaderKind {
  const known = kinds.get(name);
  if (known !== undefined) return known;
  const folded = foldedName(name);
  let kind: HeaderKind = 'plain';
  if (isForwarding(folded)) kind = 'forwarding';
  // As CGI has it, `Proxy` is HTTP_PROXY, which many programs take for a setting.
  else if (folded === 'proxy' || OURS.test(folded)) kind = 'none';
  else if (folded === 'via') kind = name.toLowerCase() === 'via' ? 'via' : 'none';
  if (name.length > KNOWN_NAME_CHARS_MAX) return kind;
  if (kinds.size >= KINDS_MAX) kinds.clear();
  kinds.set(name, kind);
  return kind;
}

/** The answer's headers for the client. `keepOurs`: it comes from the primary's proxy, whose word on itself stands. */
export function responseHeaders(raw: HeaderList, options: { keepOurs: boolean }): string[] {
  const headers: string[] = [];
  for (const [name, value] of endToEnd(raw)) {
    if (options.keepOurs || !OURS.test(name.toLowerCase())) headers.push(name, value);
  }
  return headers;
}

/** The first value of a header; names in any case. */
export function headerValue(raw: HeaderList, name: string): string | undefined {
  for (let i = 0; i < raw.length; i += 2) if (raw[i].toLowerCase() === name) return raw[i + 1];
  return undefined;
}

/** All but those of this name. */
export function withoutHeader(raw: HeaderList, name: string): string[] {
  return raw.filter((_, i) => raw[i - (i % 2)].toLowerCase() !== name);
}

/** Pairs, as node:http takes trailers. Only those that are the message's own. */
export function trailerPairs(raw: HeaderList): [string, string][] {
  return endToEnd(raw).filter(
    ([name]) => !NEVER_HOP_BY_HOP.has(name.toLowerCase()) && !OURS.test(name.toLowerCase()),
  );
}

/**
 * litefs-js marks its cookie `txnum` as Secure. A browser drops that on plain HTTP, and the application would no
 * longer see where its client has been: on plain HTTP the mark goes.
 */
export function relaxTxnumCookie(raw: HeaderList): string[] {
  return raw.map((value, i) => {
    const isCookie = i % 2 === 1 && raw[i - 1].toLowerCase() === 'set-cookie';
    return isCookie && /^txnum=/.test(value) ? value.replace(/;\s*secure(?=\s*(;|$))/i, '') : value;
  });
}

/** Without the headers that concern the connection only, and those that Connection names. */
function endToEnd(raw: HeaderList): [string, string][] {
  const pairs: [string, string][] = [];
  let named: string[] | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i].toLowerCase();
    if (name === 'connection') named = [...(named ?? []), ...tokens(raw[i + 1])];
    if (!HOP_BY_HOP.has(name)) pairs.push([raw[i], raw[i + 1]]);
  }
  if (!named?.some((name) => !HOP_BY_HOP.has(name))) return pairs;
  return pairs.filter(([name]) => {
    const key = name.toLowerCase();
    return NEVER_HOP_BY_HOP.has(key) || !named.includes(key);
  });
}

function tokens(value: string): string[] {
  return value.split(',').map((token) => token.trim().toLowerCase());
}
