/**
 * Reads the log of a database as a stranger would, from the format's description: with a decoder, LZ4 and checksums that
 * share nothing with those of the program. Each throws an Error that says what is wrong.
 */
import fs from 'node:fs';
import path from 'node:path';

const MAGIC = 'LTX1';
const HEADER_BYTES = 100;
const TRAILER_BYTES = 16;
const LOCK_BYTE_OFFSET = 2 ** 30;
const FLAG = 1n << 63n;

export interface LoggedEntry {
  /** Where it is: the file, and the offset in it. */
  readonly at: string;
  readonly minTxid: number;
  readonly maxTxid: number;
  readonly pageSize: number;
  /** Size of the database after it, in pages. */
  readonly commit: number;
  /** Checksum of the database before it, and after it. */
  readonly pre: bigint;
  readonly post: bigint;
  readonly pages: readonly { readonly pgno: number; readonly data: Buffer }[];
}

/** All entries of a log, in order. */
export function readLog(dir: string): LoggedEntry[] {
  const entries: LoggedEntry[] = [];
  for (const name of fs.readdirSync(dir)) {
    if (!/\.(?:seg|ltx)$/.test(name)) throw new Error(`${dir} has ${name}`);
    const file = path.join(dir, name);
    const bytes = fs.readFileSync(file);
    if (name.endsWith('.ltx')) {
      entries.push(decode(bytes, file));
      continue;
    }
    for (let at = 0; at < bytes.length; ) {
      const length = bytes.readUInt32BE(at);
      entries.push(decode(bytes.subarray(at + 4, at + 4 + length), `${file} at ${at}`));
      at += 4 + length;
    }
  }
  return entries.sort((a, b) => a.minTxid - b.minTxid);
}

/** What a log makes of a database, entry by entry; each must lead from and to the checksums that it promises. */
export class LogReplay {
  pageSize = 0;
  txid = 0;
  #image = Buffer.alloc(0);
  #sums: bigint[] = [];
  #xor = 0n;

  /** The pages of the database by now. Valid until the next entry. */
  get image(): Buffer {
    return this.#image;
  }

  get checksum(): bigint {
    return this.#sums.length === 0 ? 0n : this.#xor | FLAG;
  }

  /** The position, as the mount's -pos file has it. */
  get position(): string {
    const hex = (value: number | bigint) => value.toString(16).padStart(16, '0');
    return `${hex(this.txid)}/${hex(this.checksum)}`;
  }

  apply(entry: LoggedEntry): void {
    const { minTxid, maxTxid, at, commit, pageSize, pages, pre, post } = entry;
    if (minTxid !== this.txid + 1 || maxTxid < minTxid) {
      throw new Error(`${at}: ${minTxid} to ${maxTxid} behind transaction ${this.txid}`);
    }
    if (pre !== this.checksum) throw new Error(`${at}: is not for what is before it`);
    if (pageSize !== this.pageSize) this.#resize(0);
    this.pageSize = pageSize;
    this.txid = maxTxid;
    this.#resize(commit);
    for (const { pgno, data } of pages) {
      data.copy(this.#image, (pgno - 1) * pageSize);
      this.#setSum(pgno, data);
    }
    if (this.#sums.includes(undefined as never)) throw new Error(`${at}: lacks a page`);
    if (post !== this.checksum) throw new Error(`${at}: does not make what it promises`);
  }

  #resize(pageCount: number): void {
    const image = Buffer.alloc(pageCount * this.pageSize);
    this.#image.copy(image);
    this.#image = image;
    for (const sum of this.#sums.splice(pageCount)) this.#xor ^= sum;
    while (this.#sums.length < pageCount) this.#sums.push(undefined as never);
    const lockPage = LOCK_BYTE_OFFSET / this.pageSize + 1;
    if (lockPage <= pageCount) this.#sums[lockPage - 1] = 0n;
  }

  #setSum(pgno: number, data: Buffer): void {
    const sum = pageSum(pgno, data);
    this.#xor ^= (this.#sums[pgno - 1] ?? 0n) ^ sum;
    this.#sums[pgno - 1] = sum;
  }
}

function pageSum(pgno: number, data: Buffer): bigint {
  const crc = new Crc64();
  const number = Buffer.alloc(4);
  number.writeUInt32BE(pgno);
  return crc.add(number).add(data).value | FLAG;
}

function decode(bytes: Buffer, at: string): LoggedEntry {
  const crc = new Crc64();
  if (bytes.toString('latin1', 0, 4) !== MAGIC) throw new Error(`${at}: is no LTX file`);
  const pageSize = bytes.readUInt32BE(8);
  const commit = bytes.readUInt32BE(12);
  crc.add(bytes.subarray(0, HEADER_BYTES));
  const pages: { pgno: number; data: Buffer }[] = [];
  let offset = HEADER_BYTES;
  for (;;) {
    const pgno = bytes.readUInt32BE(offset);
    if (pgno === 0) break;
    const length = bytes.readUInt32BE(offset + 6);
    if (pgno > commit || pgno <= (pages.at(-1)?.pgno ?? 0)) throw new Error(`${at}: page ${pgno}`);
    const data = unpack(bytes.subarray(offset + 10, offset + 10 + length), pageSize, at);
    crc.add(bytes.subarray(offset, offset + 10)).add(data);
    pages.push({ pgno, data });
    offset += 10 + length;
  }
  const trailer = bytes.length - TRAILER_BYTES;
  crc.add(bytes.subarray(offset, trailer + 8));
  if ((crc.value | FLAG) !== bytes.readBigUInt64BE(trailer + 8))
    throw new Error(`${at}: is damaged`);
  return {
    at,
    minTxid: Number(bytes.readBigUInt64BE(16)),
    maxTxid: Number(bytes.readBigUInt64BE(24)),
    pageSize,
    commit,
    pre: bytes.readBigUInt64BE(40),
    post: bytes.readBigUInt64BE(trailer),
    pages,
  };
}

/** An LZ4 block: sequences of literals and of copies of what is there already. */
function unpack(block: Buffer, size: number, at: string): Buffer {
  const out = Buffer.alloc(size);
  let from = 0;
  let to = 0;
  const more = (length: number) => {
    let byte = 255;
    let total = length;
    while (length === 15 && byte === 255) {
      byte = block[from++];
      total += byte;
    }
    return total;
  };
  while (from < block.length) {
    const token = block[from++];
    const literals = more(token >> 4);
    block.copy(out, to, from, from + literals);
    from += literals;
    to += literals;
    if (from >= block.length) break;
    const back = block.readUInt16LE(from);
    from += 2;
    const length = more(token & 15) + 4;
    for (let i = 0; i < length; i++, to++) out[to] = out[to - back];
  }
  if (to !== size) throw new Error(`${at}: a page of ${to} bytes`);
  return out;
}

/** CRC-64/ISO, a byte at a time; the halves as numbers of 32 bits. */
class Crc64 {
  #high = -1;
  #low = -1;

  add(bytes: Uint8Array): this {
    let [high, low] = [this.#high, this.#low];
    for (let i = 0; i < bytes.length; i++) {
      const index = (low ^ bytes[i]) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ TABLE_LOW[index];
      high = (high >>> 8) ^ TABLE_HIGH[index];
    }
    [this.#high, this.#low] = [high, low];
    return this;
  }

  get value(): bigint {
    return (BigInt(~this.#high >>> 0) << 32n) | BigInt(~this.#low >>> 0);
  }
}

const POLYNOMIAL_HIGH = 0xd8000000;
const TABLE_HIGH = new Int32Array(256);
const TABLE_LOW = new Int32Array(256);
for (let index = 0; index < 256; index++) {
  let [high, low] = [0, index];
  for (let bit = 0; bit < 8; bit++) {
    const carry = low & 1;
    low = (low >>> 1) | (high << 31);
    high = (high >>> 1) ^ (carry ? POLYNOMIAL_HIGH : 0);
  }
  TABLE_HIGH[index] = high;
  TABLE_LOW[index] = low;
}
