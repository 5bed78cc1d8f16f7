/**
 * Merges LTX files that follow one another into one: of each page the newest image, nothing past the final size.
 * The result takes a database from before the first to after the last in one step.
 */
import assert from 'node:assert';
import { LtxDecoder, type LtxPage } from './decoder.ts';
import { LtxEncoder } from './encoder.ts';
import { corrupt, FLAG_NO_CHECKSUM, type LtxHeader } from './header.ts';
import { MinHeap } from './min-heap.ts';
import type { ByteSink, ByteSource } from './sources.ts';

const PAGES_PER_STEP = 256;

interface Input {
  readonly decoder: LtxDecoder;
  /** Its place in the chain: the higher, the newer. */
  readonly age: number;
  page: LtxPage | undefined;
}

/** Whether two neighbours can be merged: one page size, and no drop between them. */
export function canCompact(a: LtxHeader, b: LtxHeader): boolean {
  return a.pageSize === b.pageSize && a.commit > 0 && b.commit > 0;
}

export interface CompactOptions {
  readonly compress: boolean;
  /** The checksum after the last input: the merged file is one of an archive then, with its checksums aside. */
  readonly postAside?: bigint;
}

/**
 * `inputs` oldest first; each may begin before the one before it ends, and ends behind it. A generator that yields now and then, so that
 * others can run; its result is the header of the merged file. Throws LTX_CORRUPT.
 */
export function* compact(
  inputs: readonly ByteSource[],
  sink: ByteSink,
  options: CompactOptions,
): Generator<void, LtxHeader, void> {
  assert(inputs.length > 0);
  const open: Input[] = inputs.map((source, age) => ({
    decoder: new LtxDecoder(source),
    age,
    page: undefined,
  }));
  checkChain(open);
  const header = mergedHeader(open, options.postAside);
  const encoder = new LtxEncoder(sink, header, options);
  const pages = newestPages(open, header.commit);
  for (let count = 1, page = pages.next(); !page.done; count++, page = pages.next()) {
    encoder.page(page.value.pgno, page.value.data);
    if (count % PAGES_PER_STEP === 0) yield;
  }
  encoder.finish(finishAll(open));
  return header;
}

/**
 * The pages of the state after the last of `decoders`, which are oldest first, fresh, and of one page size: each may
 * begin before the one before it ends. `data` is valid until the next page. Returns the checksum that the last one
 * promises of the state. Throws LTX_CORRUPT.
 */
export function* mergedPages(decoders: readonly LtxDecoder[]): Generator<LtxPage, bigint, void> {
  const open: Input[] = decoders.map((decoder, age) => ({ decoder, age, page: undefined }));
  yield* newestPages(open, decoders[decoders.length - 1].header.commit);
  return finishAll(open);
}

function* newestPages(inputs: readonly Input[], commit: number): Generator<LtxPage, void, void> {
  const heap = new MinHeap<Input>(comesFirst);
  for (const input of inputs) advance(heap, input);
  let written = 0;
  for (let newest = heap.pop(); newest?.page; newest = heap.pop()) {
    const { page } = newest;
    if (page.pgno > written && page.pgno <= commit) {
      yield page;
      written = page.pgno;
    }
    advance(heap, newest);
  }
}

function finishAll(inputs: readonly Input[]): bigint {
  let post = 0n;
  for (const { decoder } of inputs) post = decoder.finish().postChecksum;
  return post;
}

/** By page number; of one page the newest image comes first, and the others are skipped. */
function comesFirst(a: Input, b: Input): boolean {
  const [pageA, pageB] = [a.page?.pgno ?? 0, b.page?.pgno ?? 0];
  return pageA < pageB || (pageA === pageB && a.age > b.age);
}

function advance(heap: MinHeap<Input>, input: Input): void {
  input.page = input.decoder.next();
  if (input.page) heap.push(input);
}

function checkChain(inputs: readonly Input[]): void {
  for (let i = 1; i < inputs.length; i++) {
    const before = inputs[i - 1].decoder.header;
    const { header } = inputs[i].decoder;
    assert(canCompact(before, header), 'files that cannot be merged');
    if (header.minTxid > before.maxTxid + 1) {
      throw corrupt(`begins with transaction ${header.minTxid}, not ${before.maxTxid + 1}`);
    }
    // Its pages are taken for the newer ones.
    if (header.maxTxid <= before.maxTxid) {
      throw corrupt(`ends with transaction ${header.maxTxid}, not behind ${before.maxTxid}`);
    }
  }
}

function mergedHeader(inputs: readonly Input[], postAside: bigint | undefined): LtxHeader {
  const first = inputs[0].decoder.header;
  const last = inputs[inputs.length - 1].decoder.header;
  const flags = last.flags | first.flags;
  const hasNone = (flags & FLAG_NO_CHECKSUM) !== 0;
  return {
    flags,
    pageSize: last.pageSize,
    commit: last.commit,
    minTxid: first.minTxid,
    maxTxid: last.maxTxid,
    timestampMs: last.timestampMs,
    preChecksum: hasNone ? 0n : first.preChecksum,
    walOffset: 0,
    walSize: 0,
    walSalt1: 0,
    walSalt2: 0,
    nodeId: last.nodeId,
    ...(postAside === undefined || hasNone ? {} : { postAside }),
  };
}
