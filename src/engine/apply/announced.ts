/**
 * Sizes that a peer announces. A page of a database is here already or has come: nothing is made, or kept free, for one that
 * was only announced.
 */
import { LiteFsError } from '../../errors.ts';
import { isPageSize, lockPageNumber } from '../../sqlite/db-header.ts';

export interface AnnouncedSize {
  /** Bytes. */
  readonly pageSize: number;
  readonly pageCount: number;
}

/** SQLite's. */
const PAGES_MAX = 0xfffffffe;

/** Throws PROTOCOL when no database can be of that size. One without pages may have any. */
export function checkSize(database: string, { pageSize, pageCount }: AnnouncedSize): void {
  if (pageCount === 0 || (isPageSize(pageSize) && pageCount <= PAGES_MAX)) return;
  const text = `${pageCount} pages of ${pageSize} bytes are announced, which no database has`;
  throw new LiteFsError('PROTOCOL', `${database}: ${text}`);
}

/**
 * How many pages of a database are neither among the first `had`, nor the lock page, nor among the `came` others that were
 * received, each of which is counted once.
 */
export function pagesOnlyAnnounced(
  { pageSize, pageCount }: AnnouncedSize,
  had: number,
  came: number,
): number {
  const lockPage = lockPageNumber(pageSize);
  const isLockPageNew = lockPage > had && lockPage <= pageCount;
  return Math.max(0, pageCount - had - came - (isLockPageNew ? 1 : 0));
}
