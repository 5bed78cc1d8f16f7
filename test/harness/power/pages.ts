/**
 * What a position says of pages, computed from the pages alone and by no code of the engine: the database checksum is the
 * XOR of the CRC-64/ISO of each page number and page, bit 63 set, but for the lock page (docs/protocol.md). And what a log
 * says of positions.
 */
import fs from 'node:fs';
import path from 'node:path';
import { LtxDecoder } from '../../../src/ltx/decoder.ts';
import { memorySource } from '../../../src/ltx/sources.ts';

const POLYNOMIAL_HIGH = 0xd8000000;
const LOCK_OFFSET = 0x40000000;

const low = new Uint32Array(256);
const high = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let [h, l] = [0, i];
  for (let bit = 0; bit < 8; bit++) {
    const carry = l & 1;
    l = ((l >>> 1) | (h << 31)) >>> 0;
    h = (h >>> 1) ^ (carry ? POLYNOMIAL_HIGH : 0);
  }
  low[i] = l;
  high[i] = h >>> 0;
}

/** The checksum of a database whose bytes, as its readers see them, are these: 16 hex digits. */
export function checksumOf(image: Uint8Array): string {
  const pageSize = pageSizeOf(image);
  let [xorHigh, xorLow] = [0, 0];
  for (let at = 0; at < image.length; at += pageSize) {
    if (at === LOCK_OFFSET) continue;
    let [h, l] = [0xffffffff, 0xffffffff];
    const pgno = at / pageSize + 1;
    const step = (byte: number) => {
      const i = (l ^ byte) & 0xff;
      l = (((l >>> 8) | (h << 24)) ^ low[i]) >>> 0;
      h = (h >>> 8) ^ high[i];
    };
    for (let shift = 24; shift >= 0; shift -= 8) step((pgno >>> shift) & 0xff);
    const end = at + pageSize;
    for (let i = at; i < end; i++) step(image[i]);
    xorHigh ^= ~h | 0x80000000;
    xorLow ^= ~l;
  }
  return hex(xorHigh | 0x80000000) + hex(xorLow);
}

function pageSizeOf(image: Uint8Array): number {
  const size = (image[16] << 8) | image[17];
  return size === 1 ? 65536 : size;
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}

/** The highest TXID of which the log of a database on disk has all, checksums included; 0 without one. */
export function highestTxidIn(dataDir: string, database: string): number {
  const dir = path.join(dataDir, 'ltx', database);
  let highest = 0;
  for (const name of fs.existsSync(dir) ? fs.readdirSync(dir) : []) {
    const bytes = fs.readFileSync(path.join(dir, name));
    if (name.endsWith('.ltx')) highest = Math.max(highest, maxTxidOf(bytes) ?? 0);
    if (!name.endsWith('.seg')) continue;
    for (let at = 0; at + 4 <= bytes.length; ) {
      const length = bytes.readUInt32BE(at);
      const txid = maxTxidOf(bytes.subarray(at + 4, at + 4 + length));
      // What comes behind a torn entry nobody can find.
      if (txid === undefined) break;
      highest = Math.max(highest, txid);
      at += 4 + length;
    }
  }
  return highest;
}

/** undefined for what is no whole entry. */
function maxTxidOf(ltx: Buffer): number | undefined {
  try {
    const decoder = new LtxDecoder(memorySource(ltx));
    decoder.finish();
    return decoder.header.maxTxid;
  } catch {
    return undefined;
  }
}
