/**
 * The cookie that lets a client read its own writes wherever it reads: how far the databases had come when its
 * last write was answered.
 *
 *   __txid=000000000000002a                                        one database: LiteFS's form
 *   __txid=app.db:000000000000002a&a%20b.db:0000000000000007       several: the name in percent signs
 *
 * It comes back from a stranger. What is not exactly of this form is as good as none.
 */
import { formatTxid } from '../ltx/position.ts';

export const TXID_COOKIE = '__txid';

/** TXIDs by database. */
export type Txids = ReadonlyMap<string, number>;

const NONE: Txids = new Map();
/** LiteFS's: a replica that is further behind than this is not waited for anyway. */
const EXPIRY_S = 5 * 60;

/** What the header Cookie says of these databases; the others are left out. Never throws. */
export function parseTxids(header: string | undefined, databases: readonly string[]): Txids {
  const value = header === undefined ? undefined : cookieValue(header, TXID_COOKIE);
  if (value === undefined) return NONE;
  if (!value.includes(':')) {
    const txid = parseTxid(value);
    return databases.length === 1 && txid ? new Map([[databases[0], txid]]) : NONE;
  }
  const txids = new Map<string, number>();
  for (const part of value.split('&', databases.length)) {
    const colon = part.lastIndexOf(':');
    const database = databases.find((name) => encodeName(name) === part.slice(0, colon));
    const txid = parseTxid(part.slice(colon + 1));
    if (database !== undefined && txid) txids.set(database, txid);
  }
  return txids;
}

/**
 * The value for what is there of these databases, in that order; also that of the header litefs-txid. Of several databases
 * the only one that is there yet has its name, too: other nodes could not tell which it is.
 */
export function formatTxids(txids: Txids, databases: readonly string[]): string {
  if (databases.length === 1) return [...txids.values()].map(formatTxid).join();
  return [...txids].map(([name, txid]) => `${encodeName(name)}:${formatTxid(txid)}`).join('&');
}

/** The header Set-Cookie. */
export function txidSetCookie(txids: Txids, databases: readonly string[], nowMs: number): string {
  const expires = new Date(nowMs + EXPIRY_S * 1000).toUTCString();
  const value = formatTxids(txids, databases);
  return `${TXID_COOKIE}=${value}; Path=/; Expires=${expires}; Max-Age=${EXPIRY_S}; HttpOnly; SameSite=Lax`;
}

/** The first cookie of that name; a browser sends the one with the longest path first. */
function cookieValue(header: string, name: string): string | undefined {
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=');
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return undefined;
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
