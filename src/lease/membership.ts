/**
 * To which cluster a node belongs: decided at its start, from its node.json, its role and what it holds.
 *
 * A cluster begins with its first database. Its id is drawn before that, at the first start of a primary, so that
 * nothing is left to be written, and nothing can fail, when the database comes, and a replica that connects before
 * hears of it in the handshake. Until then the id is an offer that binds nobody: a replica without databases drops
 * what it has kept of another life and takes over the id of the primary that its config names.
 */
export type Role = 'primary' | 'replica';

/** What a data directory holds of databases; `unknown`: the disk does not let us see all of it. */
export type Holding = 'databases' | 'nothing' | 'unknown';

export interface Membership {
  /** 16 hex digits; '' for none. */
  readonly clusterId: string;
  /** 0 with no cluster, else 1 or more. */
  readonly term: number;
}

const NONE: Membership = { clusterId: '', term: 0 };

/**
 * The cluster and the term under which a node speaks to others from its start on. `stored`: by its node.json, or of a
 * node that is new. `newId` is asked for the id of a cluster that this node may found.
 */
export function membershipAtStart(
  stored: Membership,
  { role, holding }: { readonly role: Role; readonly holding: Holding },
  newId: () => string,
): Membership {
  if (role === 'replica') return holding === 'nothing' ? NONE : stored;
  return stored.clusterId === '' ? { clusterId: newId(), term: 1 } : stored;
}
