/**
 * Pages that a transaction may change without a record in the journal. SQLite does not journal a page
 * that was a leaf of the freelist: nobody needs its old content. But to use it, it must take its number
 * off the trunk page that lists it, and that page is journaled, with the list as it was.
 *
 * A trunk page, big-endian:
 *   0  4  next trunk page, 0 at the end
 *   4  4  number of leaves
 *   8 4n  their page numbers
 */
import { parseDbHeader } from './db-header.ts';

const LEAVES_OFFSET = 8;
/** Words of a trunk page that are not leaves. */
const TRUNK_WORDS = 2;

export interface FreelistLeaves {
  readonly leaves: number[];
  /** False when the walk met something that makes the list incomplete. */
  readonly complete: boolean;
}

/** A page's bytes; undefined when it is not to be had. */
export type PageSource = (pgno: number) => Uint8Array | undefined;

/**
 * The leaves of the journaled trunk pages, as before the transaction. `journaled` gives the journal's
 * copy of a page. `unchanged` gives pages that the journal lacks from the database.
 *
 * Pages are taken from the first trunk; the next one becomes the first when that is used up. So the walk
 * ends at a trunk that was not touched, except with auto_vacuum, which searches the whole list.
 */
export function freelistLeaves(
  originalPageCount: number,
  journaled: PageSource,
  unchanged: PageSource,
): FreelistLeaves {
  const leaves: number[] = [];
  const page1 = journaled(1);
  if (page1 === undefined) return { leaves, complete: true };
  const header = parseDbHeader(page1);
  if (header === undefined) return { leaves, complete: false };
  const maxLeaves = (header.pageSize - header.reservedBytes) / 4 - TRUNK_WORDS;

  let trunk = header.freelistTrunk;
  const seen = new Set<number>();
  let rest = header.freelistPages;
  while (trunk !== 0) {
    // Whoever may write the journal can have the list lead back into itself.
    if (trunk > originalPageCount || rest <= 0 || seen.has(trunk)) {
      return { leaves, complete: false };
    }
    seen.add(trunk);
    const touched = journaled(trunk);
    if (touched === undefined && !header.autoVacuum) break;
    const page = touched ?? unchanged(trunk);
    if (page?.length !== header.pageSize) return { leaves, complete: false };
    const view = new DataView(page.buffer, page.byteOffset, page.length);
    const count = view.getUint32(4);
    if (count > maxLeaves) return { leaves, complete: false };
    for (let i = 0; touched !== undefined && i < count; i++) {
      const leaf = view.getUint32(LEAVES_OFFSET + i * 4);
      if (leaf >= 2 && leaf <= originalPageCount) leaves.push(leaf);
    }
    rest -= 1 + count;
    trunk = view.getUint32(0);
  }
  return { leaves, complete: true };
}
