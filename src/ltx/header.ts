/**
 * The header and trailer of an LTX v3 file. All integers big-endian.
 *
 *     header, 100 bytes                              trailer, 16 bytes
 *     0    4   magic "LTX1"                          0   8   post-apply database checksum
 *     4    4   flags (bit 1: no checksums)           8   8   file checksum
 *     8    4   page size
 *     12   4   commit: database size in pages after it
 *     16   8   min TXID
 *     24   8   max TXID
 *     32   8   timestamp, ms since 1970
 *     40   8   pre-apply database checksum
 *     48   8   offset in the -wal it was captured from
 *     56   8   size there
 *     64   4   salt-1 of that -wal
 *     68   4   salt-2
 *     72   8   node id
 *     80   20  zero; or, in a file of an archive:
 *     80   8   pre-apply database checksum
 *     88   8   post-apply database checksum
 *     96   4   "LFLA"
 *
 * Litestream restores only files whose own checksums are zero (flag bit 1), and whatever is in the last 20 bytes. The files
 * of an archive have theirs there: for it they have none, for us they have.
 *
 * Then the page block (page frames, six zero bytes), the page index (page-index.ts) and the trailer.
 */
import { LiteFsError } from '../errors.ts';

export const HEADER_BYTES = 100;
export const TRAILER_BYTES = 16;
/** In `flags`: pre- and post-apply checksums are zero and mean nothing (Litestream writes such files). */
export const FLAG_NO_CHECKSUM = 2;

const MAGIC = 0x4c545831;
const ASIDE_MAGIC = 0x4c464c41;
const ASIDE_OFFSET = 80;
const ASIDE_MAGIC_OFFSET = 96;
const KNOWN_FLAGS = FLAG_NO_CHECKSUM;
/** What a Date can be. */
const TIME_MS_MAX = 8.64e15;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65536;

export interface LtxHeader {
  readonly flags: number;
  /** 512 … 65536, a power of two. */
  readonly pageSize: number;
  /** Database size in pages after it; 0 drops the database. */
  readonly commit: number;
  readonly minTxid: number;
  readonly maxTxid: number;
  /** ms since 1970. */
  readonly timestampMs: number;
  readonly preChecksum: bigint;
  readonly walOffset: number;
  readonly walSize: number;
  readonly walSalt1: number;
  readonly walSalt2: number;
  readonly nodeId: bigint;
  /** Of a file of an archive, whose checksums are aside: the post-apply checksum. `flags` and `preChecksum` are then as if not. */
  readonly postAside?: bigint;
}

/** Writes the 100 bytes. */
export function encodeHeader(header: LtxHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32BE(MAGIC, 0);
  const isAside = header.postAside !== undefined;
  bytes.writeUInt32BE(isAside ? header.flags | FLAG_NO_CHECKSUM : header.flags, 4);
  bytes.writeUInt32BE(header.pageSize, 8);
  bytes.writeUInt32BE(header.commit, 12);
  bytes.writeBigUInt64BE(BigInt(header.minTxid), 16);
  bytes.writeBigUInt64BE(BigInt(header.maxTxid), 24);
  bytes.writeBigUInt64BE(BigInt(header.timestampMs), 32);
  bytes.writeBigUInt64BE(header.preChecksum, isAside ? ASIDE_OFFSET : 40);
  bytes.writeBigUInt64BE(BigInt(header.walOffset), 48);
  bytes.writeBigUInt64BE(BigInt(header.walSize), 56);
  bytes.writeUInt32BE(header.walSalt1, 64);
  bytes.writeUInt32BE(header.walSalt2, 68);
  bytes.writeBigUInt64BE(header.nodeId, 72);
  if (header.postAside !== undefined) {
    bytes.writeBigUInt64BE(header.postAside, ASIDE_OFFSET + 8);
    bytes.writeUInt32BE(ASIDE_MAGIC, ASIDE_MAGIC_OFFSET);
  }
  return bytes;
}

/** Reads and checks the header of a file. Throws LTX_CORRUPT. */
export function decodeHeader(bytes: Uint8Array): LtxHeader {
  if (bytes.length < HEADER_BYTES) throw corrupt('is shorter than its header');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  if (view.readUInt32BE(0) !== MAGIC) throw corrupt('does not begin with LTX1');
  const header: LtxHeader = {
    flags: view.readUInt32BE(4),
    pageSize: view.readUInt32BE(8),
    commit: view.readUInt32BE(12),
    minTxid: safeNumber(view, 16, 'min TXID'),
    maxTxid: safeNumber(view, 24, 'max TXID'),
    timestampMs: safeNumber(view, 32, 'timestamp'),
    preChecksum: view.readBigUInt64BE(40),
    walOffset: safeNumber(view, 48, 'WAL offset'),
    walSize: safeNumber(view, 56, 'WAL size'),
    walSalt1: view.readUInt32BE(64),
    walSalt2: view.readUInt32BE(68),
    nodeId: view.readBigUInt64BE(72),
  };
  checkHeader(header);
  const isAside = view.readUInt32BE(ASIDE_MAGIC_OFFSET) === ASIDE_MAGIC;
  if (!isAside || (header.flags & FLAG_NO_CHECKSUM) === 0) return header;
  return {
    ...header,
    flags: header.flags & ~FLAG_NO_CHECKSUM,
    preChecksum: view.readBigUInt64BE(ASIDE_OFFSET),
    postAside: view.readBigUInt64BE(ASIDE_OFFSET + 8),
  };
}

/** Whether the file holds the whole database and needs no other before it. */
export function isSnapshot(header: LtxHeader): boolean {
  return header.minTxid === 1 && header.preChecksum === 0n;
}

function checkHeader(header: LtxHeader): void {
  const { flags, pageSize, minTxid, maxTxid, timestampMs } = header;
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    throw corrupt(`has flags 0x${flags.toString(16)}: not version 3 of the format?`);
  }
  const power = pageSize !== 0 && (pageSize & (pageSize - 1)) === 0;
  if (!power || pageSize < PAGE_BYTES_MIN || pageSize > PAGE_BYTES_MAX) {
    throw corrupt(`has a page size of ${pageSize}`);
  }
  if (timestampMs > TIME_MS_MAX) throw corrupt('has a timestamp in no calendar');
  if (minTxid === 0 || maxTxid < minTxid) throw corrupt(`has TXIDs ${minTxid} to ${maxTxid}`);
}

function safeNumber(view: Buffer, offset: number, what: string): number {
  const value = Number(view.readBigUInt64BE(offset));
  if (!Number.isSafeInteger(value)) throw corrupt(`has a ${what} out of range`);
  return value;
}

/** The error for a damaged LTX file: `what` is the rest of the sentence that begins with its name. */
export function corrupt(what: string): LiteFsError {
  return new LiteFsError('LTX_CORRUPT', `LTX file ${what}`);
}
