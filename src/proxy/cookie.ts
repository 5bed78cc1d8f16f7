/**
 * The cookie that lets a client read its own writes wherever it reads: how far the databases had come when its
 * last write was answered.
 *
 *   __txid=000000000000002a                                        one database: LiteFS's form
 *   __txid=app.db:000000000000002a&a%20b.db:0000000000000007       several: the name in percent signs
 *
 * Behind that, in what the primary's proxy sets, and between dots: the primary's term, in base 36; from when on the primary's own
 * word counts for more, ms since 1970 by its clock, in base 36; and a seal of 22 characters over all of it, the
 * cluster and the name of a single database. So a cookie of another cluster is none, even with the same names.
 *
 *   __txid=000000000000002a.1.mjv1c0w0.Zm9vYmFyYmF6cXV4Zm9vYm
 *
 * It comes back from a stranger. What is not exactly of this form is as good as none, and what has no seal is said by nobody whom
 * we know: decide.ts waits for less then.
 */
import { formatTxid } from '../ltx/position.ts';
import { cookieSeal, isSeal, SEAL_CHARS } from './seal.ts';

export const TXID_COOKIE = '__txid';

/** TXIDs by database. */
export type Txids = ReadonlyMap<string, number>;

/** What the cluster is to the cookie. */
export interface CookieRealm {
  readonly secret: string | undefined;
  /** 16 hex digits, or '' before a replica has met its primary. */
  readonly clusterId: string;
  readonly databases: readonly string[];
}

/** What the primary's proxy says beside the numbers. */
export interface Vouched {
  readonly term: number;
  /** When the primary has said later than this that it is not there, it is not there; ms since 1970. */
  readonly settledMs: number;
}

/** What a client wants to see. */
export interface Wanted {
  readonly txids: Txids;
  /** undefined: no node of this cluster has set the cookie. */
  readonly vouched: Vouched | undefined;
}

export const WANTS_NOTHING: Wanted = { txids: new Map(), vouched: undefined };
/** LiteFS's: a replica that is further behind than this is not waited for anyway. */
const EXPIRY_S = 5 * 60;
/** An application may have cookies of this name for other paths. */
const COOKIES_MAX = 8;
const SEALED = new RegExp(
  `^(.+)\\.([0-9a-z]{1,11})\\.([0-9a-z]{1,11})\\.([A-Za-z0-9_-]{${SEAL_CHARS}})$`,
);

/**
 * What the header Cookie wants of the databases that is not `here` yet; nothing of other databases. A cookie with a seal goes before
 * those without. Seals take time: none is looked at for what is here. Never throws.
 */
export function parseWanted(
  header: string | undefined,
  realm: CookieRealm,
  here: Txids = WANTS_NOTHING.txids,
): Wanted {
  if (header === undefined || !header.includes(TXID_COOKIE)) return WANTS_NOTHING;
  let plain: Wanted | undefined;
  for (const value of cookieValues(header, TXID_COOKIE)) {
    const [, numbers, term, settledMs, given] = SEALED.exec(value) ?? [];
    const txids = parseTxids(numbers ?? value, realm.databases);
    if (![...txids].some(([name, txid]) => (here.get(name) ?? 0) < txid)) continue;
    if (given === undefined) plain ??= { txids, vouched: undefined };
    else if (isSeal(given, sealOf([numbers, term, settledMs], realm))) {
      const vouched = {
        term: Number.parseInt(term, 36),
        settledMs: Number.parseInt(settledMs, 36),
      };
      return { txids, vouched };
    }
  }
  return plain ?? WANTS_NOTHING;
}

function parseTxids(value: string, databases: readonly string[]): Txids {
  const txids = new Map<string, number>();
  if (!value.includes(':')) {
    const txid = parseTxid(value);
    return databases.length === 1 && txid ? txids.set(databases[0], txid) : txids;
  }
  for (const part of value.split('&', databases.length)) {
    const colon = part.lastIndexOf(':');
    const database = databases.find((name) => encodeName(name) === part.slice(0, colon));
    const txid = parseTxid(part.slice(colon + 1));
    if (database !== undefined && txid) txids.set(database, txid);
  }
  return txids;
}

function sealOf(parts: readonly string[], { secret, clusterId, databases }: CookieRealm): string {
  const name = databases.length === 1 ? encodeName(databases[0]) : '';
  return cookieSeal(secret, clusterId, [name, ...parts]);
}

/**
 * The value for what is there of these databases, in that order; also that of the header litefs-txid. Of several databases
 * the only one that is there yet has its name, too: other nodes could not tell which it is.
 */
export function formatTxids(txids: Txids, databases: readonly string[]): string {
  if (databases.length === 1) return [...txids.values()].map(formatTxid).join();
  return [...txids].map(([name, txid]) => `${encodeName(name)}:${formatTxid(txid)}`).join('&');
}

/** The header Set-Cookie. `isCertain`: these are numbers that the primary has, not ones that may come next. */
export function txidSetCookie(
  { txids, isCertain }: { txids: Txids; isCertain: boolean },
  term: number,
  realm: CookieRealm,
  nowMs: number,
): string {
  const expiryMs = nowMs + EXPIRY_S * 1000;
  const parts = [
    formatTxids(txids, realm.databases),
    term.toString(36),
    (isCertain ? nowMs : expiryMs).toString(36),
  ];
  const value = `${parts.join('.')}.${sealOf(parts, realm)}`;
  const expires = new Date(expiryMs).toUTCString();
  return `${TXID_COOKIE}=${value}; Path=/; Expires=${expires}; Max-Age=${EXPIRY_S}; HttpOnly; SameSite=Lax`;
}

/** Whether an application sets a cookie of this name itself. `raw`: flat, name after value. */
export function setsTxidCookie(raw: readonly string[]): boolean {
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i].length !== 10 || raw[i].toLowerCase() !== 'set-cookie') continue;
    if (/^\s*__txid\s*=/.test(raw[i + 1])) return true;
  }
  return false;
}

/** The cookies of that name; a browser sends the one with the longest path first. */
function cookieValues(header: string, name: string): string[] {
  const values: string[] = [];
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=');
    if (equals > 0 && pair.slice(0, equals).trim() === name) {
      values.push(pair.slice(equals + 1).trim());
    }
    if (values.length === COOKIES_MAX) break;
  }
  return values;
}

/** undefined unless 16 hex digits and a number that a TXID can be. */
function parseTxid(text: string): number | undefined {
  if (!/^[0-9a-f]{16}$/i.test(text)) return undefined;
  const txid = Number.parseInt(text, 16);
  return Number.isSafeInteger(txid) ? txid : undefined;
}

/** Names are byte strings (store/layout.ts); in the cookie every byte but the plainest is in percent signs. */
function encodeName(name: string): string {
  return name.replace(
    /[^A-Za-z0-9._/-]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
