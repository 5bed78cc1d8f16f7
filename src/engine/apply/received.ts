/**
 * Checks a received LTX file against the state it is to be applied to, before anything is touched: it
 * must be whole, follow our position, and lead to the checksum that it promises.
 */
import { LiteFsError } from '../../errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../../kernels/checksum.ts';
import { LtxDecoder } from '../../ltx/decoder.ts';
import { corrupt, FLAG_NO_CHECKSUM, type LtxHeader } from '../../ltx/header.ts';
import { formatPosition, formatTxid, type Position } from '../../ltx/position.ts';
import type { PageSums } from '../../store/page-sums.ts';
import { type LtxInput, withLtxInput } from '../core/ltx-input.ts';
import type { Task } from '../tasks/scheduler.ts';
import { pagesOnlyAnnounced } from './announced.ts';

const PAGES_PER_STEP = 512;

/** What applying the file means for the checksum table. */
export interface CheckedEntry {
  readonly header: LtxHeader;
  readonly post: Position;
  readonly pgnos: readonly number[];
  readonly sums: readonly bigint[];
}

/**
 * `state`: what the database is before it. An entry may begin before our position (a compacted one that
 * covers it): its pages are the newest at its end all the same.
 * Throws LTX_CORRUPT, or CHECKSUM_MISMATCH when we are not what the sender takes us for.
 */
export function* checkEntry(
  name: string,
  input: LtxInput,
  state: { position: Position; pageSize: number; sums: PageSums },
): Task<CheckedEntry> {
  return yield* withLtxInput(input, function* (source): Task<CheckedEntry> {
    const decoder = new LtxDecoder(source);
    const { header } = decoder;
    checkOrder(name, header, state);
    const same = header.pageSize === state.pageSize;
    let xor = same ? xorWithin(state.sums, header.commit) : 0n;
    const pgnos: number[] = [];
    const sums: bigint[] = [];
    for (let page = decoder.next(); page; page = decoder.next()) {
      const sum = pageChecksum(page.pgno, page.data);
      pgnos.push(page.pgno);
      sums.push(sum);
      xor ^= sum ^ (same && page.pgno <= header.commit ? state.sums.get(page.pgno) : 0n);
      if (pgnos.length % PAGES_PER_STEP === 0) yield;
    }
    const { postChecksum } = decoder.finish();
    const had = same ? state.sums.pageCount : 0;
    const came = pgnos.length - firstAbove(pgnos, had);
    if (pagesOnlyAnnounced({ ...header, pageCount: header.commit }, had, came) > 0) {
      throw corrupt(`of ${name} lacks pages of the ${header.commit} that it says are in it`);
    }
    const checksum = header.commit === 0 ? 0n : xor | CHECKSUM_FLAG;
    const post: Position = { txid: header.maxTxid, checksum };
    if ((header.flags & FLAG_NO_CHECKSUM) === 0 && checksum !== postChecksum) {
      throw new LiteFsError(
        'CHECKSUM_MISMATCH',
        `${name}: transaction ${formatTxid(header.maxTxid)} would make it ${formatPosition(post)}, ` +
          `on the primary it is ${formatPosition({ txid: header.maxTxid, checksum: postChecksum })}`,
      );
    }
    return { header, post, pgnos, sums };
  });
}

/** The index of the first page past `had`; they are in ascending order. */
function firstAbove(pgnos: readonly number[], had: number): number {
  let [low, high] = [0, pgnos.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (pgnos[middle] <= had) low = middle + 1;
    else high = middle;
  }
  return low;
}

function checkOrder(
  name: string,
  header: LtxHeader,
  { position, sums }: { position: Position; sums: PageSums },
): void {
  if (position.txid === 0 && sums.pageCount > 0) {
    // The first transactions would take readers back to the beginning, and what is here away from them.
    throw new LiteFsError(
      'CHECKSUM_MISMATCH',
      `${name}: it is not known which transactions made what is here: its pages are compared with the primary's`,
    );
  }
  const next = position.txid + 1;
  if (header.minTxid > next || header.maxTxid < next) {
    throw new LiteFsError(
      'CHECKSUM_MISMATCH',
      `${name}: received transactions ${header.minTxid} to ${header.maxTxid}, not ${next}`,
    );
  }
  if (header.minTxid === next && header.preChecksum !== position.checksum) {
    throw new LiteFsError(
      'CHECKSUM_MISMATCH',
      `${name}: transaction ${next} follows another state than ${formatPosition(position)}`,
    );
  }
}

function xorWithin(sums: PageSums, commit: number): bigint {
  let xor = sums.xor;
  for (let pgno = commit + 1; pgno <= sums.pageCount; pgno++) xor ^= sums.get(pgno);
  return xor;
}
