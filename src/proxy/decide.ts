/** Where a request goes. Pure: from what is asked, and what the node knows at this moment. */
import type { Txids, Vouched, Wanted } from './cookie.ts';
import { originForm } from './intake.ts';
import type { RequestKind } from './rules.ts';

export interface DecisionInput {
  readonly kind: Exclude<RequestKind, 'health'>;
  /** How far the databases must have come for this client. */
  readonly wanted: Wanted;
  /** Another node has forwarded it here. */
  readonly forwarded: boolean;
  /** The request target as the client sent it, for a redirect. */
  readonly target: string;
}

export interface NodeFacts {
  readonly isPrimary: boolean;
  readonly hostname: string;
  /** The primary's name and the URL of its proxy; undefined while they are not known. */
  readonly primaryHostname: string | undefined;
  readonly primaryUrl: string | undefined;
  /** Where the databases are here. */
  readonly txids: Txids;
  /** What is known of the primary at this moment; asked for when the databases here are not as far as they should be. */
  heard(): PrimaryWord;
}

/** What a replica knows of its primary. */
export interface PrimaryWord {
  /** How far the primary is known to be. */
  readonly txids: Txids;
  /** When the primary itself, not another replica, has said so last, by its clock, and its term then. */
  readonly said: { readonly term: number; readonly atMs: number } | undefined;
}

/** Clocks may be set back a little: a word counts for more than a cookie when it is later by this. */
const CLOCK_MARGIN_MS = 2000;

export interface DecisionSettings {
  readonly onWrite: 'forward' | 'redirect' | 'fly-replay';
  readonly onStale: 'forward' | '504';
}

export type Decision =
  /** To the application here. `cookie`: its answer gets the position after it. `marked`: it gets our headers. */
  | { readonly to: 'target'; readonly cookie: boolean; readonly marked: boolean }
  | { readonly to: 'primary'; readonly url: string }
  /** Until the databases are there; then decide again. */
  | { readonly to: 'wait'; readonly txids: Txids }
  /** Until the primary is known; then decide again. */
  | { readonly to: 'wait-for-primary' }
  | { readonly to: 'redirect'; readonly location: string }
  | { readonly to: 'fly-replay'; readonly instance: string }
  | Refusal;

export interface Refusal {
  readonly to: 'refuse';
  readonly status: 400 | 408 | 502 | 503 | 504 | 508;
  /** One line: what is wrong, and with whom. */
  readonly reason: string;
}

/** `waited`: the wait that an earlier decision asked for has ended without success. */
export function decide(
  input: DecisionInput,
  node: NodeFacts,
  settings: DecisionSettings,
  waited: boolean,
): Decision {
  if (input.kind === 'passthrough') return { to: 'target', cookie: false, marked: false };
  if (node.isPrimary) return { to: 'target', cookie: input.kind === 'write', marked: true };
  if (input.forwarded) {
    return refuse(508, `${node.hostname} is not the primary, and was taken for it by another node`);
  }
  if (input.kind === 'write') return write(input, node, settings, waited);
  const missing = missingTxids(input.wanted, node);
  if (missing.size === 0) return { to: 'target', cookie: false, marked: true };
  if (!waited) return { to: 'wait', txids: missing };
  if (settings.onStale === 'forward' && node.primaryUrl !== undefined) {
    return forwardTo(node.primaryUrl, node);
  }
  return refuse(504, `${node.hostname} has not received what this client has written`);
}

/**
 * What has to be waited for: what is not here, and is with the primary, or may be. Where the primary has not come to is waited for
 * only when the primary's proxy has said that there is something, and the primary nothing since: a number that anybody made up, or
 * of a database that has lost it, never comes.
 */
export function missingTxids({ txids, vouched }: Wanted, node: NodeFacts): Map<string, number> {
  const missing = new Map<string, number>();
  for (const [name, txid] of txids) {
    if ((node.txids.get(name) ?? 0) < txid) missing.set(name, txid);
  }
  if (missing.size === 0) return missing;
  const word = node.heard();
  const mayCome = vouched !== undefined && !isRefuted(vouched, word);
  if (mayCome) return missing;
  for (const [name, txid] of missing) {
    if ((word.txids.get(name) ?? 0) < txid) missing.delete(name);
  }
  return missing;
}

/** Whether the primary has said enough since to know that what it has not told of is not there. */
function isRefuted({ term, settledMs }: Vouched, { said }: PrimaryWord): boolean {
  if (said === undefined || said.term < term) return false;
  // Of an earlier term it has all that there will be.
  return said.term > term || said.atMs > settledMs + CLOCK_MARGIN_MS;
}

function write(
  input: DecisionInput,
  node: NodeFacts,
  { onWrite }: DecisionSettings,
  waited: boolean,
): Decision {
  const { primaryHostname, primaryUrl } = node;
  if (onWrite === 'fly-replay' && primaryHostname !== undefined) {
    return { to: 'fly-replay', instance: primaryHostname };
  }
  if (onWrite !== 'fly-replay' && primaryUrl !== undefined) {
    return onWrite === 'redirect'
      ? { to: 'redirect', location: locationAt(primaryUrl, input.target) }
      : forwardTo(primaryUrl, node);
  }
  if (!waited) return { to: 'wait-for-primary' };
  const unknown = primaryHostname ?? 'the primary';
  return refuse(503, `${node.hostname} does not know where the proxy of ${unknown} is`);
}

/** To the primary's proxy, at the URL that it tells. Nodes speak plain HTTP; what is meant for TLS never goes so. */
export function forwardTo(
  url: string,
  node: NodeFacts,
): Extract<Decision, { to: 'primary' | 'refuse' }> {
  if (URL.parse(url)?.protocol === 'http:') return { to: 'primary', url };
  return refuse(
    502,
    `${node.hostname} forwards to http:// only, and the primary's proxy is ${url}`,
  );
}

export function refuse(status: Refusal['status'], reason: string): Refusal {
  return { to: 'refuse', status, reason };
}

/** The same path at another node. A target with a host of its own must not lead anywhere else. */
function locationAt(base: string, target: string): string {
  const path = originForm(target);
  return base.replace(/\/+$/, '') + (path.startsWith('/') ? path : `/${path}`);
}
