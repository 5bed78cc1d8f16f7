/** File names of LTX files: `<min TXID>-<max TXID>.ltx`, 16 lower-case hex digits each. */
import { formatTxid } from './position.ts';

export function ltxFileName(minTxid: number, maxTxid: number): string {
  return `${formatTxid(minTxid)}-${formatTxid(maxTxid)}.ltx`;
}

/** undefined when it is not such a name. */
export function parseLtxFileName(name: string): { minTxid: number; maxTxid: number } | undefined {
  const match = /^([0-9a-f]{16})-([0-9a-f]{16})\.ltx$/.exec(name);
  if (!match) return undefined;
  const minTxid = Number.parseInt(match[1], 16);
  const maxTxid = Number.parseInt(match[2], 16);
  if (!Number.isSafeInteger(maxTxid) || minTxid > maxTxid) return undefined;
  return { minTxid, maxTxid };
}
