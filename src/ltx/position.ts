/**
 * A position: how far a database has come (TXID) and what it contains there (checksum).
 * Two copies of a database are the same exactly when their positions are equal.
 */

/** TXIDs are 64-bit on disk; numbers here, exact up to 2^53 (9,500 years at 30,000 commits/s). */
export interface Position {
  /** Transaction id: 0 before the first transaction. */
  readonly txid: number;
  /** Database checksum (bit 63 set), or 0n before the first transaction and after a drop. */
  readonly checksum: bigint;
}

export const ZERO_POSITION: Position = { txid: 0, checksum: 0n };

/** 16 lower-case hex digits. */
export function formatTxid(txid: number): string {
  return txid.toString(16).padStart(16, '0');
}

/** 16 lower-case hex digits. */
export function formatChecksum(checksum: bigint): string {
  return checksum.toString(16).padStart(16, '0');
}

/** `<txid>/<checksum>`, each 16 hex digits, as LiteFS writes it. */
export function formatPosition(position: Position): string {
  return `${formatTxid(position.txid)}/${formatChecksum(position.checksum)}`;
}

/** The inverse of formatPosition; undefined when the text is not a position. */
export function parsePosition(text: string): Position | undefined {
  const match = /^([0-9a-f]{16})\/([0-9a-f]{16})$/.exec(text.trim());
  if (!match) return undefined;
  const txid = Number.parseInt(match[1], 16);
  if (!Number.isSafeInteger(txid)) return undefined;
  return { txid, checksum: BigInt(`0x${match[2]}`) };
}

export function samePosition(a: Position, b: Position): boolean {
  return a.txid === b.txid && a.checksum === b.checksum;
}
