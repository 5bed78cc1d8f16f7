/**
 * Whether a replica is the same as its primary, by what both have read of their own pages. Three answers: yes, no, cannot tell.
 *
 * The two need not be at one transaction, so that this works under writers. The primary has compared each page with its table on
 * the way to transaction P, where its table's checksum is X; the replica has at P' >= P compared each page with its own. If the
 * replica's log, a chain of what the primary sent, had X at P as well, then the tables were one at P, and what led from there to
 * P' is the primary's own. So a page that differs now was changed since it was read, past both tables.
 */
import { formatPosition, formatTxid } from '../ltx/position.ts';
import type { OwnPages } from '../replication/parts.ts';

/** What was read here. */
export interface Here {
  /** Whether all pages are what they should be. */
  readonly ok: boolean;
  readonly txid: number;
  /** What this node has for the checksum after the primary's transaction; undefined when it cannot say. */
  readonly recalled: bigint | undefined;
}

/** What the primary has read, or why it has not. */
export type There = OwnPages | { readonly unknown: string };

export interface Comparison {
  /** null: it cannot be told. */
  readonly sameAsPrimary: boolean | null;
  /** Why it cannot be told; null when it can. */
  readonly notCompared: string | null;
  /** Whether another try may tell. */
  readonly tryAgain: boolean;
}

export function compare(here: Here, there: There): Comparison {
  if ('unknown' in there) return cannotTell(there.unknown, false);
  const { position, reason } = there;
  if (here.recalled === undefined) {
    const text =
      here.txid < position.txid
        ? `this node has not got to transaction ${formatTxid(position.txid)} of the primary yet`
        : `the primary went on while it was read: this node cannot say any more whether it was at ${formatPosition(position)}`;
    return cannotTell(text, here.txid >= position.txid);
  }
  const isSame = here.recalled === position.checksum && here.ok && reason === '';
  return { sameAsPrimary: isSame, notCompared: null, tryAgain: false };
}

function cannotTell(why: string, tryAgain: boolean): Comparison {
  return { sameAsPrimary: null, notCompared: why, tryAgain };
}
