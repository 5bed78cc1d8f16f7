/**
 * VERIFIED: what a server answers to VERIFY, which is a name and an id (encodeNamedId in messages.ts).
 *
 *     name, u64 id
 *     u8 outcome      0 cannot tell, 1 all pages read are what they should be, 2 some are not
 *     position        0/0 when it cannot tell
 *     u32 pages       how many were read; 0 when it cannot tell
 *     u32 count       at most 100; the numbers of bad pages, u32 each
 *     text reason     empty with outcome 1
 */
import { LiteFsError } from '../errors.ts';
import { ZERO_POSITION } from '../ltx/position.ts';
import { PayloadReader, PayloadWriter } from './bytes.ts';
import type { OwnPages } from './parts.ts';

const BAD_PAGES_MAX = 100;
const CANNOT_TELL = 0;
const WELL = 1;
const WRONG = 2;

export interface Verified {
  readonly database: string;
  readonly id: number;
  /** Or why that cannot be told. */
  readonly found: OwnPages | { readonly unknown: string };
}

export function encodeVerified({ database, id, found }: Verified): Buffer {
  const writer = new PayloadWriter().name(database).u64(id);
  if ('unknown' in found) {
    return writer.u8(CANNOT_TELL).position(ZERO_POSITION).u32(0).u32(0).text(found.unknown).done();
  }
  const { position, pages, reason } = found;
  const badPages = found.badPages.slice(0, BAD_PAGES_MAX);
  writer.u8(reason === '' ? WELL : WRONG).position(position);
  writer.u32(pages).u32(badPages.length);
  for (const pgno of badPages) writer.u32(pgno);
  return writer.text(reason).done();
}

/** Throws PROTOCOL, also for an answer that contradicts itself: it must never be taken for a good one. */
export function decodeVerified(payload: Buffer): Verified {
  const reader = new PayloadReader(payload);
  const database = reader.name();
  const id = reader.u64();
  const outcome = reader.u8();
  const position = reader.position();
  const pages = reader.u32();
  const count = reader.u32();
  if (count > BAD_PAGES_MAX) throw new LiteFsError('PROTOCOL', `a list of ${count} bad pages`);
  const badPages = Array.from({ length: count }, () => reader.u32());
  const reason = reader.text();
  reader.end();
  const isWell = outcome === WELL;
  if (outcome > WRONG || isWell !== (reason === '') || (isWell && count > 0)) {
    throw new LiteFsError('PROTOCOL', `a VERIFIED of outcome ${outcome} that makes no sense`);
  }
  if (outcome === CANNOT_TELL) return { database, id, found: { unknown: reason } };
  return { database, id, found: { position, pages, badPages, reason } };
}
