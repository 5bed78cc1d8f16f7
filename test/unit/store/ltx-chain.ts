/** Transactions for the tests of a log: small LTX files, each of which begins where the one before ended. */
import fs from 'node:fs';
import { LtxEncoder } from '../../../src/ltx/encoder.ts';
import type { LtxHeader } from '../../../src/ltx/header.ts';
import type { Position } from '../../../src/ltx/position.ts';
import { memorySink } from '../../../src/ltx/sources.ts';

const CHECKSUM_FLAG = 1n << 63n;

export interface Transaction {
  readonly header: LtxHeader;
  readonly bytes: Buffer;
  readonly post: Position;
}

export interface TransactionFields {
  readonly pageSize?: number;
  /** Size of the database in pages after it; 0 for a drop. */
  readonly commit?: number;
  readonly timestampMs?: number;
  readonly walOffset?: number;
}

export class LtxChain {
  #position: Position = { txid: 0, checksum: 0n };

  get position(): Position {
    return this.#position;
  }

  next(fields: TransactionFields = {}): Transaction {
    const { pageSize = 512, commit = 1, timestampMs = 0, walOffset = 0 } = fields;
    const before = this.#position;
    const txid = before.txid + 1;
    const checksum = commit === 0 ? 0n : CHECKSUM_FLAG | BigInt(txid * 0x10001);
    const header: LtxHeader = {
      flags: 0,
      pageSize,
      commit,
      minTxid: txid,
      maxTxid: txid,
      timestampMs,
      preChecksum: before.checksum,
      walOffset,
      walSize: walOffset === 0 ? 0 : 24 + pageSize,
      walSalt1: 1,
      walSalt2: 2,
      nodeId: 7n,
    };
    const post = { txid, checksum };
    this.#position = post;
    return { header, bytes: encode(header, checksum), post };
  }
}

/** What a merge of these would leave: one file from the first to the last. Not their pages. */
export function writeMerged(file: string, first: Transaction, last: Transaction): void {
  const header = { ...last.header, minTxid: first.header.minTxid };
  const bytes = encode({ ...header, preChecksum: first.header.preChecksum }, last.post.checksum);
  fs.writeFileSync(file, bytes);
}

function encode(header: LtxHeader, postChecksum: bigint): Buffer {
  const sink = memorySink();
  const encoder = new LtxEncoder(sink, header, { compress: true });
  if (header.commit > 0) encoder.page(1, Buffer.alloc(header.pageSize, header.maxTxid));
  encoder.finish(postChecksum);
  return sink.bytes();
}
